"""A client's connection: offers of other protocols, and limits on headers, time and number."""

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from engines import scripted
from polling import PATIENCE_SECONDS, until
from processes import Server, peak_memory, serving

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
    timeouts = ("client-write-timeout", "header-timeout", "idle-timeout", "body-timeout")
    flags = [word for name in timeouts for word in (f"--{name}", "2")]
    flags += ["--lingering-timeout", "0.5", "--max-body-bytes", "200000"]
    with serving("--upstream", engine, *flags) as server:
        yield server


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect((host, int(port)))
    return connection


def request(content: str, head: bytes = b"", stream: bool = False) -> bytes:
    body = {"messages": [{"role": "user", "content": content}], "stream": stream}
    raw = json.dumps(body).encode()
    start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + head
    return start + b"content-length: %d\r\n\r\n" % len(raw) + raw


def received_until_closed(connection: socket.socket, drip: bytes = b"") -> bytes:
    """What arrives until the server closes, while `drip` is sent again and again."""
    start, received = time.monotonic(), b""
    connection.settimeout(0.1)
    while time.monotonic() - start < PATIENCE_SECONDS:
        try:
            if drip:
                connection.sendall(drip)
                time.sleep(0.02)
            block = connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return received
        if not block and not drip:
            return received
        received += block
    raise AssertionError(f"still open: {received!r}")


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
    for number, header in ((70, b"x: %b\r\n" % (1000 * b"x")), (101, b"x: y\r\n")):
        with connect(front) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\n" + number * header + b"\r\n")
            answer = received_until_closed(connection)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"100 headers" in answer
    with connect(front) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nx: ")
        answer = received_until_closed(connection, 10_000 * b"x")
        assert answer.startswith(b"HTTP/1.1 431 ")
    with connect(front) as connection:  # a body before a head does not count as head
        connection.sendall(
            request("think=1 chunks=2" + " " * 100_000) + b"GET /health HTTP/1.1\r\n"
        )
        time.sleep(0.05)
        connection.sendall(b"x: y\r\n\r\n")
        assert answered(connection).count(b"HTTP/1.1 200 ") >= 1
    large = {"x-large": "x" * 30_000}
    assert httpx.get(f"{front.url}/health", headers=large).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_may_ask_for_the_head_alone(front: Server, path: str) -> None:
    answer = httpx.head(f"{front.url}{path}")
    assert answer.status_code == 200
    assert not answer.content


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
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("select status from requests").fetchall() == [(503,)]


HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "drip", "answer"),
    [
        (b"", b"", b""),
        (b"", b"\r\n", b""),
        (HEALTH, b"", b"HTTP/1.1 200 "),
        (HEALTH, b"\r\n", b"HTTP/1.1 200 "),
        (b"GET /health HTTP/1.1\r\n", b"", b"HTTP/1.1 408 "),
        (b"GET /health HTTP/1.1\r\n", b"x: y\r\n", b"HTTP/1.1 408 "),
        (b"G", b"E", b"HTTP/1.1 "),
    ],
)
def test_a_connection_without_a_whole_request_is_closed(
    front: Server, begin: bytes, drip: bytes, answer: bytes
) -> None:
    with connect(front) as connection:
        connection.sendall(begin)
        received = received_until_closed(connection, drip)
    assert received.startswith(answer)
    assert bool(received) == bool(answer)


def test_a_second_request_has_the_same_deadline(front: Server) -> None:
    """Of its own, although the connection is older; its head may begin before the answer."""
    with connect(front) as connection:
        for _ in range(4):
            connection.sendall(HEALTH + b"GET /health HTTP/1.1\r\n")
            time.sleep(0.6)
            connection.sendall(b"host: x\r\n\r\n")
            received = b""
            while received.count(b"HTTP/1.1 200 ") < 2:
                received += connection.recv(65536)
        connection.sendall(HEALTH + b"GET /health HTTP/1.1\r\n")
        received = received_until_closed(connection, b"x: y\r\n")
    assert received.index(b"HTTP/1.1 200 ") < received.index(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_long_has_no_deadline(front: Server) -> None:
    with connect(front) as connection:
        connection.sendall(request("think=1 chunks=6 rate=4") + b"GET /health HTTP/1.1\r\n")
        time.sleep(0.1)
        received = received_until_closed(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in received


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"POST /nothing", 404),
        (b"POST /health", 405),
        (b"GET /health", 200),
        (b"GET /v1/chat/completions", 405),
        (b"POST /v1/chat/completions", 408),
    ],
)
def test_a_body_that_nobody_reads_does_not_keep_the_connection(
    front: Server, start: bytes, status: int
) -> None:
    with connect(front) as connection:
        connection.sendall(start + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n{")
        answer = received_until_closed(connection, b" ")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close\r\n" in answer


def test_the_answer_to_a_body_that_is_too_large_can_be_read(front: Server) -> None:
    """The client sends all of it before it reads; a connection that is reset loses the answer."""
    with connect(front) as connection:
        connection.sendall(request(2_000_000 * "x"))
        answer = received_until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"200000 bytes" in answer


def chunked(trailers: bytes, extension: bytes = b"") -> bytes:
    body = b'{"messages": [{"role": "user", "content": "think=1 chunks=2"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x%b\r\n%b\r\n0\r\n%b\r\n" % (len(body), extension, body, trailers)


def test_trailers_are_dropped(front: Server) -> None:
    with connect(front) as connection:
        for _ in range(2):
            connection.sendall(chunked(b"x-tops-effort: bogus\r\nx-request-id: mine\r\n"))
            answer = answered(connection)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"x-request-id: mine" not in answer


@pytest.mark.parametrize(
    "raw",
    [
        chunked(400_000 * (b"x: " + 60 * b"y" + b"\r\n")),
        chunked(b"x: " + 24 * 2**20 * b"y" + b"\r\n"),
        chunked(b"", b";x=" + 24 * 2**20 * b"y"),
        b"GET / HTTP/1.1\r\n" + 3_000_000 * b"x: y\r\n",
        12 * 2**20 * b"\r\n",
    ],
    ids=["trailers", "trailer", "extension", "headers", "lines"],
)
def test_what_is_no_body_takes_no_memory(front: Server, raw: bytes) -> None:
    before = peak_memory(front)
    with connect(front) as connection:
        try:
            connection.sendall(raw)
            received = received_until_closed(connection)
        except ConnectionError:
            received = b""
    assert b"HTTP/1.1 200 " not in received
    assert peak_memory(front) - before < 20 * 2**20


def test_silent_connections_leave_room_for_others(engine: str) -> None:
    """With 64 file descriptors, and 80 connections that send nothing, or a part of a request.

    Some are idle after an answer. When all are busy, the next is refused.
    """
    with serving("--upstream", engine, descriptors=64) as server, ExitStack() as stack:
        for _ in range(20):
            idle = stack.enter_context(connect(server))
            idle.sendall(HEALTH)
            assert idle.recv(100).startswith(b"HTTP/1.1 200 ")
        part = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"
        for number in range(80):
            stack.enter_context(connect(server)).sendall(part[: (0, 9, 99)[number % 3]])
        body = {"messages": [{"role": "user", "content": "think=1 chunks=2"}]}
        for _ in range(3):
            response = httpx.post(f"{server.url}/v1/chat/completions", json=body)
            assert response.status_code == 200
        assert server.logged("file descriptors")
        line = next(line for line in server.lines if '"maximum"' in line)
        maximum = json.loads(line)["maximum"]
        assert 12 <= maximum <= 20
        busy = [stack.enter_context(connect(server)) for _ in range(maximum)]
        for connection in busy:
            connection.sendall(request("endless", stream=True))
            assert connection.recv(100)
        refused = httpx.get(f"{server.url}/health")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "too_many_connections"
        busy[0].close()
        until(lambda: httpx.get(f"{server.url}/health").status_code == 200)
