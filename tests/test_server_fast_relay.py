"""What an engine streams is handed on whole and in order, whatever who takes it does."""

import asyncio
import inspect
import random
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from raw_server import raw_server

from server.engines.engine import Engine
from server.engines.http_reply import HttpReply
from server.errors import EngineFailed, EngineTimeout

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
LONG = b"2\r\nabcd"
"""A chunk that is longer than it says."""

PAUSE = 0.01
"""Seconds between two writes, so that they come in apart."""

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


def framed(block: bytes) -> bytes:
    """One chunk of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(block), block)


def paced(blocks: list[bytes], pause: float = PAUSE) -> Write:
    """Writes a stream of blocks, so many seconds after each."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for block in blocks:
            writer.write(framed(block))
            await asyncio.sleep(pause)
        writer.write(END)

    return write


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one event loop or the other."""
    uvloop = request.param == "uvloop"
    factory = pytest.importorskip("uvloop").new_event_loop if uvloop else None

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)

    return run


@asynccontextmanager
async def streaming(
    write: Write, silence: float = 5.0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Callable[[], Awaitable[HttpReply]]]:
    """Asks an engine that answers every request with what `write` writes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            await write(writer)

    async with raw_server(serve, tls) as port:
        engine = Engine(f"{'https' if tls else 'http'}://localhost:{port}", None, silence)

        async def ask() -> HttpReply:
            reply = engine.post("/chat/completions", {}, {})
            await reply.begin()
            return reply

        async with engine.connected():
            yield ask


async def poured(reply: HttpReply, delay: float = 0.0) -> bytes:
    """All of a reply, each block taken after a delay."""
    taken: list[bytes] = []

    def sink(block: bytes) -> Awaitable[None] | None:
        taken.append(block)
        return asyncio.sleep(delay) if delay else None

    await reply.stream_to(sink)
    await reply.aclose()
    return b"".join(taken)


@pytest.mark.parametrize("delay", [0.0, 0.004])
@pytest.mark.parametrize("seed", range(5))
def test_all_comes_in_order_however_the_network_cuts_it(seed: int, delay: float, run: Run) -> None:
    draw = random.Random(seed)
    body = [draw.randbytes(draw.randint(1, 3000)) for _ in range(40)]
    raw = HEAD + b"".join(map(framed, body)) + END
    cuts = sorted(draw.sample(range(1, len(raw)), 60))

    async def write(writer: asyncio.StreamWriter) -> None:
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            writer.write(raw[start:end])
            await asyncio.sleep(draw.choice((0, PAUSE / 5)))

    async def main() -> bytes:
        async with streaming(write) as ask:
            return await poured(await ask(), delay)

    assert run(main()) == b"".join(body)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_looks_like_a_chunk_is_taken_for_one(seed: int, run: Run) -> None:
    """Bodies made of what the encoding is made of, cut at its seams."""
    draw = random.Random(seed)
    pieces = [
        b"\n\n",
        b"\n\r\n",
        b"\n\n\r\n",
        b"2\r\nab\r\n",
        b"4\r\nab\n\n\r\n",
        b"1\r\n",
        END,
        b"ab",
    ]
    sizes = (b"%x\r\n", b"%x\r\n", b"%X\r\n", b"%03x\r\n", b"%x;name=value\r\n")

    def written() -> tuple[bytes, list[bytes]]:
        """A body, and the writes that it comes in."""
        body, writes = b"", [HEAD]
        for _ in range(40):
            block = draw.choices(pieces, k=draw.randint(1, 4))
            size = draw.choice(sizes) % sum(map(len, block))
            for part in (size, *block, b"\r\n"):
                if draw.random() < 0.6:
                    writes[-1] += part
                else:
                    writes.append(part)
            body += b"".join(block)
        return body, [*writes, END]

    streams = [written() for _ in range(100)]
    left = [writes for _, writes in streams]

    async def write(writer: asyncio.StreamWriter) -> None:
        for data in left.pop():
            writer.write(data)
            await asyncio.sleep(PAUSE)

    async def main() -> list[bytes]:
        async with streaming(write) as ask:

            async def one() -> bytes:
                return await poured(await ask())

            return await asyncio.gather(*(one() for _ in streams))

    assert sorted(run(main())) == sorted(body for body, _ in streams)


def test_connections_are_used_again_by_many_streams_at_once(run: Run) -> None:
    writers: set[asyncio.StreamWriter] = set()
    body = [b"block %d" % number for number in range(5)]

    async def write(writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await paced(body)(writer)

    async def main() -> None:
        async with streaming(write) as ask:

            async def several() -> None:
                for _ in range(10):
                    assert await poured(await ask()) == b"".join(body)

            await asyncio.gather(*(several() for _ in range(8)))

    run(main())
    assert len(writers) == 8


def test_a_taker_that_waits_holds_the_engine_up(run: Run) -> None:
    flood, sent, most = b"x" * 65536, 0, 2**26

    async def write(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + framed(b"first"))
        await asyncio.sleep(PAUSE)
        while sent < most:
            writer.write(framed(flood))
            await writer.drain()
            sent += len(flood)
        writer.write(END)

    async def main() -> tuple[int, int]:
        taken = held = 0
        go = asyncio.Event()

        async def sink(block: bytes) -> None:
            nonlocal taken
            taken += len(block)
            if block != b"first":
                await go.wait()

        async with streaming(write) as ask:
            reply = await ask()
            pouring = asyncio.create_task(reply.stream_to(sink))
            while held != sent or not sent:
                held = sent
                await asyncio.sleep(0.3)
            go.set()
            await pouring
        return held, taken

    held, taken = run(main())
    assert held < most / 2
    assert taken == most + len(b"first")


def test_no_chunk_overtakes_what_the_client_holds_up(run: Run) -> None:
    """The client stops in the middle of data that has very many chunks."""
    flood = [b"%07d\n\n" % number for number in range(18_000)]
    single = [b"%d\n\n" % number for number in range(5)]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + framed(b"first\n\n"))
        await asyncio.sleep(PAUSE)
        for _ in range(3):
            writer.write(b"".join(map(framed, flood)))
            await asyncio.sleep(20 * PAUSE)
            for event in single:
                writer.write(framed(event))
                await asyncio.sleep(PAUSE)
        writer.write(END)

    async def main() -> bytes:
        async with streaming(write) as ask:
            return await poured(await ask())

    assert run(main()) == b"first\n\n" + b"".join(flood + single) * 3


def test_the_end_comes_after_what_the_client_holds_up(run: Run) -> None:
    """Its reader is full a little before the end, which it reads when room is made."""
    body = [b"first", *(b"%0200d" % number for number in range(2**19 // 200 + 5))]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + framed(body[0]))
        await asyncio.sleep(PAUSE)
        writer.write(b"".join(map(framed, body[1:])) + END)

    async def main() -> bytes:
        async with streaming(write) as ask:
            return await poured(await ask(), delay=20 * PAUSE)

    assert run(main()) == b"".join(body)


def test_no_task_is_woken_for_a_block(run: Run) -> None:
    async def main() -> list[asyncio.Task[Any] | None]:
        tasks: list[asyncio.Task[Any] | None] = []

        def sink(_: bytes) -> None:
            tasks.append(asyncio.current_task())

        async with streaming(paced([b"x"] * 5)) as ask:
            await (await ask()).stream_to(sink)
        return tasks

    assert run(main())[1:] == [None] * 4


@pytest.mark.parametrize("number", [2, 3, 4])
def test_what_comes_during_a_wait_does_not_wait_for_more(run: Run, number: int) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for block in range(number):
            writer.write(framed(b"%d" % block))
            await asyncio.sleep(5 * PAUSE)
        await asyncio.sleep(30)

    async def main() -> None:
        there, last = asyncio.Event(), b"%d" % (number - 1)

        async def sink(block: bytes) -> None:
            await asyncio.sleep(6 * PAUSE)
            if block.endswith(last):
                there.set()

        async with streaming(write) as ask:
            reply = await ask()
            pouring = asyncio.create_task(reply.stream_to(sink))
            async with asyncio.timeout(20):
                await there.wait()
            pouring.cancel()
            await reply.aclose()

    run(main())


def test_a_stream_may_be_longer_than_a_silence(run: Run) -> None:
    async def main() -> bytes:
        async with streaming(paced([b"x"] * 8, pause=0.3), silence=2) as ask:
            return await poured(await ask())

    assert run(main()) == b"x" * 8


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (b"", EngineTimeout),
        (b"not a size\r\n", EngineFailed),
        (LONG, EngineFailed),
        (None, EngineFailed),
    ],
    ids=["silence", "nonsense", "too long a chunk", "a broken connection"],
)
def test_what_came_before_a_failure_is_handed_on(
    last: bytes | None, error: type[Exception], run: Run
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + framed(b"one\n\n"))
        await asyncio.sleep(PAUSE)
        writer.write(framed(b"two\n\n"))
        await asyncio.sleep(PAUSE)
        if last is None:
            raise ConnectionError
        writer.write(last)
        await asyncio.sleep(30)

    async def main() -> list[bytes]:
        taken: list[bytes] = []

        async with streaming(write, silence=2) as ask:
            reply = await ask()
            with pytest.raises(error):
                await reply.stream_to(taken.append)
            await reply.aclose()
        return taken

    assert b"".join(run(main())) == b"one\n\ntwo\n\n" + (b"ab" if last == LONG else b"")


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_of_the_taker_s_is_its_own(waits: bool, run: Run) -> None:
    async def main() -> None:
        blocks = 0

        async def fail_later() -> None:
            await asyncio.sleep(PAUSE)
            raise ZeroDivisionError

        def sink(_: bytes) -> Awaitable[None] | None:
            nonlocal blocks
            blocks += 1
            if blocks < 3:
                return None
            if waits:
                return fail_later()
            raise ZeroDivisionError

        async with streaming(paced([b"x"] * 5)) as ask:
            reply = await ask()
            with pytest.raises(ZeroDivisionError):
                await reply.stream_to(sink)
            await reply.aclose()
            assert await poured(await ask()) == b"x" * 5  # the next one is not harmed
        assert blocks == 3

    run(main())


def test_who_is_cancelled_leaves_nothing_behind(run: Run) -> None:
    closed = asyncio.Event()

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        try:
            while True:
                writer.write(framed(b"x"))
                await writer.drain()
                await asyncio.sleep(PAUSE)
        finally:
            closed.set()

    async def main() -> None:
        async with streaming(write) as ask:
            reply = await ask()
            pouring = asyncio.create_task(poured(reply))
            await asyncio.sleep(10 * PAUSE)
            pouring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pouring
            await reply.aclose()
            async with asyncio.timeout(60):
                await closed.wait()

    run(main())


async def cancelled_by_its_taker(end: Callable[[], Awaitable[None] | None]) -> None:
    """Stream to a sink that cancels the stream at its last chunk, and then does what `end` does."""

    def sink(block: bytes) -> Awaitable[None] | None:
        if block != b"last":
            return None
        pouring.cancel()
        return end()

    async with streaming(paced([b"first", b"last", b"x"])) as ask:
        reply = await ask()
        pouring = asyncio.create_task(reply.stream_to(sink))
        with pytest.raises(asyncio.CancelledError):
            await pouring
        await reply.aclose()


def test_an_error_of_a_taker_s_that_is_cancelled_is_nobody_s(run: Run) -> None:
    async def main() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        def fail() -> None:
            raise ZeroDivisionError

        await cancelled_by_its_taker(fail)
        return told

    assert run(main()) == []


def test_what_a_taker_that_is_cancelled_would_wait_for_is_dropped(run: Run) -> None:
    async def main() -> Coroutine[Any, Any, None]:
        waits = asyncio.sleep(0)
        await cancelled_by_its_taker(lambda: waits)
        return waits

    assert inspect.getcoroutinestate(run(main())) == inspect.CORO_CLOSED


def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    try:
        subprocess.run(["openssl", "req", *words], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the certificate, is not installed")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    body = [b"%d " % number for number in range(20)]

    async def main() -> bytes:
        async with streaming(paced(body), tls=tls) as ask:
            return await poured(await ask()) + await poured(await ask())

    assert run(main()) == b"".join(body + body)
