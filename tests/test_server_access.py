"""Who may see what: dashboards by key, web pages of other origins, trailers that claim a key."""

import json
import socket
from collections.abc import Generator

import httpx
import pytest
from engines import scripted
from polling import until
from processes import Server, serving

from server.api_keys import digest
from server.decide.headers import DECISION_HEADERS

KEYS = """
[[keys]]
name = "mine"
sha256 = "{mine}"
[[keys]]
name = "other"
sha256 = "{other}"
[[keys]]
name = "boss"
sha256 = "{boss}"
dashboard = "all"
[[kinds]]
name = "chat"
match = ["key:boss"]
"""
PAGE = "https://chat.example.com"
PATH = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "think=1 chunks=2"}]}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("access")
    names = ("mine", "other", "boss")
    (folder / "tops.toml").write_text(KEYS.format(**{name: digest(name) for name in names}))
    flags = ["--config", str(folder / "tops.toml"), "--ledger", f"sqlite:///{folder}/ledger.db"]
    flags += ["--cors-origins", f"{PAGE},http://localhost:3000", "--lingering-timeout", "0.5"]
    flags += ["--aliases", "fast"]
    with scripted() as engine, serving("--upstream", engine, *flags) as server:
        yield server


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def exchanged(front: Server, raw: bytes) -> bytes:
    """What arrives until the gateway closes the connection."""
    host, port = front.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(raw)
        received = b""
        while block := connection.recv(65536):
            received += block
        return received


def test_a_key_sees_its_own_requests_on_the_dashboard(front: Server) -> None:
    for key in ("mine", "other", "other"):
        assert httpx.post(front.url + PATH, json=BODY, headers=bearer(key)).status_code == 200
    metrics = f"{front.url}/metrics"
    until(lambda: "tops_ledger_rows_total 3.0" in httpx.get(metrics).text)
    for key, seen in (("mine", {"mine": 1}), ("other", {"other": 2})):
        data = httpx.get(f"{front.url}/dashboard/data", headers=bearer(key)).json()
        assert {row["key"] for row in data["latest"]} == set(seen)
        assert len(data["latest"]) == sum(data["requests"].values()) == seen[key]
        assert sum(sum(bar.values()) for bar in data["timeline"]["efforts"]) == seen[key]
        assert data["key"] == key
    data = httpx.get(f"{front.url}/dashboard/data", headers=bearer("boss")).json()
    assert [row["key"] for row in data["latest"]] == ["other", "other", "mine"]
    assert data["key"] is None


def test_a_trailer_authenticates_nobody(front: Server) -> None:
    body = json.dumps(BODY).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".encode()
    chunks = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    trailer = b"authorization: Bearer mine\r\n\r\n"
    assert b" 401 " in exchanged(front, head + chunks + trailer)


def test_without_a_key_a_dripped_body_does_not_keep_the_connection(front: Server) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{{".encode()
    answer = exchanged(front, head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer


def test_pages_of_the_set_origins_may_read_answers(front: Server) -> None:
    asks = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    preflight = httpx.options(front.url + PATH, headers=asks)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == PAGE
    allowed = preflight.headers["access-control-allow-headers"]
    assert allowed == asks["access-control-request-headers"]
    for key, status in (("mine", 200), ("unknown", 401)):
        headers = {**bearer(key), "origin": PAGE}
        response = httpx.post(front.url + PATH, json={**BODY, "stream": True}, headers=headers)
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == PAGE
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {*DECISION_HEADERS, "x-request-id"} <= set(exposed)
        ours = {name for name in response.headers if name.startswith("x-tops-")}
        assert ours <= set(DECISION_HEADERS)
        assert bool(ours) == (status == 200)


def test_other_pages_may_not(front: Server) -> None:
    asks = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    preflight = httpx.options(front.url + PATH, headers=asks)
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    headers = {**bearer("mine"), "origin": "https://evil.example"}
    response = httpx.get(f"{front.url}/v1/models", headers=headers)
    assert "access-control-allow-origin" not in response.headers


def test_the_page_needs_no_key_and_any_name_will_do(front: Server) -> None:
    headers = {"host": "tops.example.com"}
    assert httpx.get(f"{front.url}/dashboard", headers=headers).status_code == 200


def test_an_alias_and_a_key_show_the_kind_of_a_request(front: Server) -> None:
    headers = bearer("boss")
    models = httpx.get(f"{front.url}/v1/models", headers=headers).json()["data"]
    assert [model["id"] for model in models][1:] == ["fast"]
    body = {**BODY, "model": "fast:low", "response_format": {"type": "json_object"}}
    answer = httpx.post(front.url + PATH, json=body, headers=headers)
    assert (answer.headers["x-tops-kind"], answer.headers["x-tops-effort"]) == ("chat", "low")
    assert answer.json()["model"] == models[0]["id"]
    assert (
        "x-tops-kind" not in httpx.post(front.url + PATH, json=body, headers=bearer("mine")).headers
    )
    route = httpx.post(f"{front.url}/v1/route", json=body, headers=headers).json()
    assert (route["kind"], route["kind_sources"]) == ("chat", ["key:boss", "model:fast", "json"])
    completion = {"prompt": "hi", "model": "fast"}
    assert (
        httpx.post(f"{front.url}/v1/completions", json=completion, headers=headers).status_code
        == 200
    )
    suffixed = {"prompt": "hi", "model": "fast:low"}
    assert (
        httpx.post(f"{front.url}/v1/completions", json=suffixed, headers=headers).status_code == 400
    )
