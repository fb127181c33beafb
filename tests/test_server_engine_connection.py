"""Connections to engines that end early, or send more than a reply: what is retried, and when."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from raw_server import raw_server

from server.engines.engine import Engine
from server.engines.http_reply import HttpReply
from server.errors import EngineFailed

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"9\r\ndata: x\n\n\r\n"
END = b"0\r\n\r\n"

Serve = Callable[[int, int, asyncio.StreamWriter], Awaitable[bool]]
"""Answers a request: the connection's number, the request's on it, the writer; False closes it."""


@asynccontextmanager
async def engine(serve: Serve) -> AsyncGenerator[Callable[[], Awaitable[HttpReply]]]:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        connection, request = connections, 0
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            request += 1
            if not await serve(connection, request, writer):
                return

    async with raw_server(handle) as port:
        client = Engine(f"http://127.0.0.1:{port}", None, 5.0)

        async def ask() -> HttpReply:
            reply = client.post("/chat/completions", {}, {})
            try:
                await reply.begin()
            except BaseException:
                await reply.aclose()
                raise
            return reply

        async with client.connected():
            yield ask


async def read(reply: HttpReply) -> bytes:
    blocks: list[bytes] = []

    async def sink(block: bytes) -> None:
        blocks.append(block)

    if reply.is_stream:
        await reply.stream_to(sink)
    else:
        blocks.append(await reply.read())
    await reply.aclose()
    return b"".join(blocks)


@pytest.mark.parametrize(
    ("pieces", "is_stream"),
    [
        ([b"data: x\n\n"], True),
        ([b"d", b"ata: x\n\n"], True),
        ([b"\n: begun\n\ndata: x\n\n"], True),
        ([b'{"data": "event: x"}'], False),
        ([b"{", b"}"], False),
    ],
)
def test_a_stream_without_a_content_type_is_known_by_its_first_bytes(
    pieces: list[bytes], is_stream: bool
) -> None:
    async def serve(_connection: int, _request: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in pieces:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(END)
        return True

    async def run() -> None:
        async with engine(serve) as ask:
            reply = await ask()
            assert reply.is_stream is is_stream
            assert await read(reply) == b"".join(pieces)

    asyncio.run(run())


@pytest.mark.parametrize("abort", [False, True])
def test_a_kept_connection_that_ends_before_any_byte_costs_no_answer(abort: bool) -> None:
    seen: list[tuple[int, int]] = []

    async def serve(connection: int, request: int, writer: asyncio.StreamWriter) -> bool:
        seen.append((connection, request))
        if request > 1:
            if abort:
                writer.transport.abort()
            return False
        writer.write(ANSWER)
        return True

    async def main() -> None:
        async with engine(serve) as ask:
            for _ in range(3):
                assert await read(await ask()) == b"{}"

    asyncio.run(main())
    assert seen == [(1, 1), (1, 2), (2, 1), (3, 1)]


def test_an_engine_that_closes_after_every_stream_answers_every_request() -> None:
    """As llama.cpp does, whose headers promise to keep the connection."""

    async def serve(connection: int, request: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM + CHUNK)
        await writer.drain()
        writer.write(CHUNK + END)
        return False

    async def main() -> None:
        async with engine(serve) as ask:
            for _ in range(100):
                assert await read(await ask()) == b"data: x\n\n" * 2

    asyncio.run(main())


def test_a_new_connection_that_ends_is_not_tried_again() -> None:
    requests = 0

    async def serve(connection: int, request: int, writer: asyncio.StreamWriter) -> bool:
        nonlocal requests
        requests += 1
        return False

    async def main() -> None:
        async with engine(serve) as ask:
            with pytest.raises(EngineFailed):
                await ask()

    asyncio.run(main())
    assert requests == 1


@pytest.mark.parametrize("part", [b"H", ANSWER[:40], STREAM])
def test_after_a_byte_nothing_is_tried_again(part: bytes) -> None:
    requests = 0

    async def serve(connection: int, request: int, writer: asyncio.StreamWriter) -> bool:
        nonlocal requests
        requests += 1
        writer.write(ANSWER if request == 1 else part)
        await asyncio.sleep(0.01)
        return request == 1

    async def main() -> None:
        async with engine(serve) as ask:
            await read(await ask())
            with pytest.raises(EngineFailed):
                await ask()

    asyncio.run(main())
    assert requests == 2


@pytest.mark.parametrize("answer", [ANSWER, STREAM + CHUNK + END])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_bytes_behind_a_reply_do_not_take_it_away(answer: bytes, size: int) -> None:
    async def serve(connection: int, request: int, writer: asyncio.StreamWriter) -> bool:
        raw = answer + b"\r\ntrailing bytes\r\n\r\n"
        for start in range(0, len(raw), size):
            writer.write(raw[start : start + size])
            await asyncio.sleep(0)
        return True

    async def main() -> None:
        async with engine(serve) as ask:
            for _ in range(1 if size == 1 else 2):
                assert await read(await ask()) in (b"{}", b"data: x\n\n")

    asyncio.run(main())


def test_what_came_before_a_malformed_chunk_is_passed_on() -> None:
    async def serve(connection: int, request: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM)
        await asyncio.sleep(0.01)
        writer.write(CHUNK + b"zz\r\n")
        return True

    blocks: list[bytes] = []

    async def main() -> None:
        async def sink(block: bytes) -> None:
            blocks.append(block)

        async with engine(serve) as ask:
            reply = await ask()
            with pytest.raises(EngineFailed):
                await reply.stream_to(sink)
            await reply.aclose()

    asyncio.run(main())
    assert blocks == [b"data: x\n\n"]


def test_the_url_s_credentials_and_path_reach_the_engine_unless_there_is_a_key() -> None:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)

    async def main() -> None:
        async with raw_server(handle) as port:
            for key in (None, "secret"):
                url = f"http://user:p%40ss@127.0.0.1:{port}/a b/ü"
                client = Engine(url, key, 5.0)
                async with client.connected():
                    reply = client.post("/chat/completions", {}, {"x-request-id": "req_1"})
                    await reply.begin()
                    await reply.aclose()

    asyncio.run(main())
    for head, authorization in zip(heads, (b"Basic dXNlcjpwQHNz", b"Bearer secret"), strict=True):
        assert head.startswith(
            b"POST /a%20b/%C3%BC/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:"
        )
        assert b"\r\nauthorization: " + authorization + b"\r\n" in head
        assert b"\r\nx-request-id: req_1\r\n" in head
        assert b"user" not in head.partition(b"\r\n\r\n")[0].replace(b"user-agent", b"")
