"""Requests that a web page of a stranger may have caused, to a gateway without API keys."""

import pytest

from server.errors import GatewayError
from server.http.browser_guard import BrowserGuard

JSON = "application/json"


def status(guard: BrowserGuard, method: str = "POST", **headers: str) -> int:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    try:
        guard.check({"type": "http", "method": method, "headers": raw})
    except GatewayError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8000", "LOCALHOST.", "127.0.0.1:8000", "[::1]:8000", "[::1]"),
        *("192.168.1.5:8000", "gateway", "gateway:8000", "tops.localhost", "", "::1"),
        *("host.docker.internal:8000", "tops.example.com", "TOPS.example.com:443"),
        *("a.lab.example.com", "b.a.lab.example.com:8000"),
    ],
)
def test_names_that_no_stranger_can_give_are_answered(host: str) -> None:
    guard = BrowserGuard(("tops.example.com", "*.lab.example.com"), ())
    for _ in range(2):
        assert status(guard, host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "evil.example."),
        *("xtops.example.com", "lab.example.com", "xlab.example.com", "localhost.evil.example"),
        *("evil.example#localhost", "localhost@evil.example"),
        *("evil.example:x", "1.2.3.4.5", "internal.example", "a.internal.example"),
    ],
)
def test_names_that_a_stranger_can_give_are_refused(host: str) -> None:
    guard = BrowserGuard(("tops.example.com", "*.lab.example.com"), ())
    for _ in range(2):
        assert status(guard, host=host) == 403
        assert status(guard, "GET", host=host) == 403
    assert status(BrowserGuard(None, ()), host=host) == 200
    assert status(BrowserGuard(("*",), ()), host=host) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:8000", 200),
        ("http://localhost:3000", 200),
        ("https://127.0.0.1", 200),
        ("http://[::1]:5173", 200),
        ("vscode-webview://1a2b", 200),
        ("https://chat.example.com", 200),
        ("https://chat.example.com:444", 403),
        ("http://chat.example.com", 403),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("HTTPS://EVIL.example", 403),
        ("", 200),
    ],
)
def test_pages_of_other_sites_are_refused(origin: str, expected: int) -> None:
    guard = BrowserGuard((), ("https://chat.example.com",))
    for method in ("POST", "GET"):
        headers = {"host": "localhost:8000", "content_type": JSON, "origin": origin}
        assert status(guard, method, **headers) == expected


def test_a_gateway_on_the_network_answers_its_own_pages_only() -> None:
    guard = BrowserGuard(None, ())
    own = {"host": "tops.lan:8000", "content_type": JSON}
    assert status(guard, **own, origin="http://tops.lan:8000") == 200
    assert status(guard, **own, origin="http://tops.lan:80") == 403
    assert status(guard, **own) == 200
    assert status(BrowserGuard(None, ("*",)), **own, origin="http://evil.example") == 200


@pytest.mark.parametrize(
    ("site", "method", "expected"),
    [
        ("cross-site", "POST", 403),
        ("same-site", "POST", 403),
        ("cross-site", "GET", 200),
        ("same-origin", "POST", 200),
        ("none", "POST", 200),
    ],
)
def test_a_browser_that_names_no_origin_names_the_site(
    site: str, method: str, expected: int
) -> None:
    guard = BrowserGuard((), ())
    headers = {"host": "localhost", "sec_fetch_site": site, "content_type": JSON}
    assert status(guard, method, **headers) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("text/plain", 415),
        ("Text/Plain;charset=UTF-8", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json", 200),
    ],
)
def test_a_browser_may_not_send_a_form(kind: str, expected: int) -> None:
    guard = BrowserGuard((), ())
    assert status(guard, host="localhost", content_type=kind) == 200  # curl's -d
    browser = {"host": "localhost", "content_type": kind, "origin": "http://localhost"}
    assert status(guard, **browser) == expected
