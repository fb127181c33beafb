"""What a client's connection bears: offers of other protocols, endless headers, unread answers."""

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


def answered(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        block = connection.recv(65536)
        assert block, received
        received += block
    return received


@pytest.mark.parametrize("cut", [0, 60, 200, -10])
def test_another_protocol_that_is_offered_is_declined(front: Server, cut: int) -> None:
    """As Java's HttpClient offers it, in one packet or two, twice over one connection."""
    asked = request("think=1 chunks=2", OFFER)
    with connect(front) as connection:
        for _ in range(2):
            connection.sendall(asked[:cut])
            time.sleep(0.05)
            connection.sendall(asked[cut:])
            answer = answered(connection)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert json.loads(answer[answer.index(b"{") :])["usage"]["completion_tokens"] == 3


def test_what_else_a_client_says_with_an_offer_holds(front: Server) -> None:
    offer = OFFER.replace(b"connection: ", b"connection: close, ")
    with connect(front) as connection:
        connection.sendall(request("think=1 chunks=2", offer))
        answer = answered(connection)
        assert b"connection: close" in answer
        assert connection.recv(1) == b""


def test_offers_may_follow_each_other(front: Server) -> None:
    whole = b"GET /health HTTP/1.1\r\nhost: x\r\n" + OFFER + b"\r\n"
    with connect(front) as connection:
        connection.sendall(1500 * whole)
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 1500:
            received += connection.recv(65536)


def test_headers_have_a_bound(front: Server) -> None:
    with connect(front) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for number in range(5000):
                connection.sendall(b"x-%d: %b\r\n" % (number, b"x" * 1000))
    with connect(front) as connection:  # what came with the beginning of a head is not in it
        connection.sendall(
            request("think=1 chunks=2" + " " * 100_000) + b"GET /health HTTP/1.1\r\n"
        )
        time.sleep(0.05)
        connection.sendall(b"x: y\r\n\r\n")
        assert answered(connection).count(b"HTTP/1.1 200 ") >= 1
    large = {"x-large": "x" * 30_000}
    assert httpx.get(f"{front.url}/health", headers=large).status_code == 200


def test_a_client_that_takes_nothing_more_is_left(front: Server, engine: str) -> None:
    with connect(front) as connection:
        connection.sendall(request("endless", stream=True))
        connection.recv(100)
        assert front.logged('"status":499', 20)
        assert httpx.get(f"{engine}/counts").json()["running"] == 0
        assert "tops_in_flight 0.0" in httpx.get(f"{front.url}/metrics").text


def test_a_client_that_is_slow_is_waited_for(front: Server) -> None:
    """One that takes 80,000 bytes a second, of megabytes that wait for it in the system."""
    with connect(front) as connection:
        connection.sendall(request("endless", b"x-request-id: slow\r\n", stream=True))
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert connection.recv(4_000)
            time.sleep(0.05)
        assert not front.logged('"request_id":"slow"', 0.1)
    assert front.logged('"request_id":"slow"')


def test_one_that_reads_no_more_does_not_hold_up_the_gateway_s_end(
    engine: str, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.db"
    flags = ("--shutdown-timeout", "1", "--ledger", f"sqlite:///{file}")
    with serving("--upstream", engine, *flags) as server, connect(server) as connection:
        connection.sendall(request("endless", stream=True))
        connection.recv(100)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
        assert server.logged('"status":503')
    rows = sqlite3.connect(file).execute("select status from requests").fetchall()
    assert rows == [(503,)]
