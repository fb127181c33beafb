"""A client's connection: offers of other protocols, large headers, clients that stop reading."""

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from engines import scripted
from polling import until
from processes import Server, serving

OFFER = (
    b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    b"http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


@pytest.fixture(scope="module")
def front(engine: str) -> Generator[Server]:
    with serving("--upstream", engine, "--client-write-timeout", "1") as server:
        yield server


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((host, int(port)))
    return connection


def request(content: str, head: bytes = b"", stream: bool = False) -> bytes:
    body = {"messages": [{"role": "user", "content": content}], "stream": stream}
    raw = json.dumps(body).encode()
    start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + head
    return start + b"content-length: %d\r\n\r\n" % len(raw) + raw


def is_stalled(engine: str) -> bool:
    """Whether the engine writes nothing: the gateway has stopped reading."""
    before = httpx.get(f"{engine}/counts").json()["chunks"]
    time.sleep(0.3)
    return httpx.get(f"{engine}/counts").json()["chunks"] == before


def answered(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        block = connection.recv(65536)
        assert block, received
        received += block
    return received


@pytest.mark.parametrize("cut", [0, 60, 200, -10])
def test_another_protocol_that_is_offered_is_declined(front: Server, cut: int) -> None:
    """As by Java's HttpClient: in one packet or two, twice on one connection."""
    raw = request("think=1 chunks=2", OFFER)
    with connect(front) as connection:
        for _ in range(2):
            connection.sendall(raw[:cut])
            time.sleep(0.05)
            connection.sendall(raw[cut:])
            answer = answered(connection)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert json.loads(answer[answer.index(b"{") :])["usage"]["completion_tokens"] == 3


def test_other_options_beside_an_offer_are_kept(front: Server) -> None:
    offer = OFFER.replace(b"connection: ", b"connection: close, ")
    with connect(front) as connection:
        connection.sendall(request("think=1 chunks=2", offer))
        answer = answered(connection)
        assert b"connection: close" in answer
        assert connection.recv(1) == b""


def test_offers_may_follow_each_other(front: Server) -> None:
    offering = b"GET /health HTTP/1.1\r\nhost: x\r\n" + OFFER + b"\r\n"
    with connect(front) as connection:
        connection.sendall(1500 * offering)
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 1500:
            received += connection.recv(65536)


def test_the_size_of_headers_is_limited(front: Server) -> None:
    with connect(front) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for number in range(5000):
                connection.sendall(b"x-%d: %b\r\n" % (number, b"x" * 1000))
    with connect(front) as connection:  # a body before a head does not count as head
        connection.sendall(
            request("think=1 chunks=2" + " " * 100_000) + b"GET /health HTTP/1.1\r\n"
        )
        time.sleep(0.05)
        connection.sendall(b"x: y\r\n\r\n")
        assert answered(connection).count(b"HTTP/1.1 200 ") >= 1
    large = {"x-large": "x" * 30_000}
    assert httpx.get(f"{front.url}/health", headers=large).status_code == 200


def test_a_client_that_stops_reading_is_disconnected(front: Server, engine: str) -> None:
    with connect(front) as connection:
        connection.sendall(request("endless", b"x-request-id: unread\r\n", stream=True))
        connection.recv(100)
        assert front.logged('"request_id":"unread"')
        line = next(line for line in front.lines if '"request_id":"unread"' in line)
        assert '"status":499' in line
        until(lambda: httpx.get(f"{engine}/counts").json()["running"] == 0)
        assert "tops_in_flight 0.0" in httpx.get(f"{front.url}/metrics").text


def test_a_slow_client_is_not_disconnected(front: Server) -> None:
    """It reads 80,000 bytes per second, of megabytes in the system's buffers."""
    with connect(front) as connection:
        connection.sendall(request("endless", b"x-request-id: slow\r\n", stream=True))
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert connection.recv(4_000)
            time.sleep(0.05)
        assert not front.logged('"request_id":"slow"', 0.1)
    assert front.logged('"request_id":"slow"')


def test_a_client_that_stops_reading_does_not_delay_shutdown(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    flags = ("--shutdown-timeout", "1", "--ledger", f"sqlite:///{file}")
    with serving("--upstream", engine, *flags) as server, connect(server) as connection:
        connection.sendall(request("endless", stream=True))
        connection.recv(100)
        until(lambda: is_stalled(engine))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        assert server.logged('"status":503')
    rows = sqlite3.connect(file).execute("select status from requests").fetchall()
    assert rows == [(503,)]
