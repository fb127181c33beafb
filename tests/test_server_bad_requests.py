"""Requests that are malformed, too large, too slow or misdirected."""

import socket
from collections.abc import Generator

import httpx
import pytest
from processes import Server, serving
from scripted_engine import ScriptedEngine, ask, error_of


@pytest.fixture(scope="module")
def front(engine: ScriptedEngine) -> Generator[Server]:
    limits = ("--body-timeout", "1", "--max-body-bytes", "200000")
    with serving("--upstream", f"http://127.0.0.1:{engine.port}/v1", *limits) as server:
        yield server


def raw(front: Server, request: bytes, seconds: float = 60) -> bytes:
    host, port = front.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(request)
        received = b""
        while block := connection.recv(65536):
            received += block
            if b"}" in received:
                break
        return received


def test_a_body_that_never_ends_is_408(front: Server) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
    answer = raw(front, head)
    assert b" 408 " in answer
    assert b"not complete" in answer


def test_a_body_that_is_too_large_is_413(front: Server) -> None:
    error = error_of(ask(front, "x" * 300_000), 413)
    assert "200000 bytes" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "says"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "JSON"),
        ("POST", "/v1/chat/completions", b"[]", 400, "object"),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400, "JSON"),
        ("POST", "/v1/chat/completions", b"", 400, "JSON"),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400, "messages"),
        ("POST", "/v1/route", b'{"messages": []}', 400, "messages"),
        ("GET", "/v1/chat/completions", b"", 405, "GET"),
        ("POST", "/v1/models", b"", 405, "POST"),
        ("GET", "/v2/nothing", b"", 404, "/v2/nothing"),
        (
            "POST",
            "/v1/chat/completions",
            b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}',
            404,
            "'scripted'",
        ),
    ],
)
def test_bad_requests(
    front: Server, method: str, path: str, content: bytes, status: int, says: str
) -> None:
    response = httpx.request(method, front.url + path, content=content)
    assert says in error_of(response, status)["message"]
    assert "x-request-id" in response.headers
    assert ask(front, "complete").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({"host": "evil.example:8000"}, 403, "allowed_hosts"),
        ({"host": "evil.example:8000", "content-type": "text/plain"}, 403, "allowed_hosts"),
        ({"origin": "https://evil.example", "content-type": "text/plain"}, 403, "cors_origins"),
        ({"origin": "null"}, 403, "cors_origins"),
        ({"origin": "http://localhost", "content-type": "text/plain"}, 415, "application/json"),
        ({"host": "localhost"}, 200, ""),
        ({"origin": "http://localhost:3000"}, 200, ""),
        ({"content-type": "text/plain"}, 200, ""),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_without_keys_pages_of_strangers_are_refused(
    front: Server, headers: dict[str, str], status: int, says: str, path: str
) -> None:
    content = b'{"messages": [{"role": "user", "content": "complete"}]}'
    headers = {"content-type": "application/json", **headers}
    response = httpx.post(front.url + path, content=content, headers=headers)
    assert response.status_code == status
    assert response.headers["x-request-id"]
    if status != 200:
        assert says in error_of(response, status)["message"]


def test_without_keys_the_dashboard_has_no_strange_name(front: Server) -> None:
    for path in ("/dashboard", "/dashboard/data", "/v1/models", "/ready", "/metrics"):
        response = httpx.get(front.url + path, headers={"host": "evil.example"})
        assert error_of(response, 403)["code"] == "host_not_allowed"
