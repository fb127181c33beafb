"""What a request leaves is freed at once: full collections are rare in a gateway."""

import asyncio
import gc
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
from raw_server import raw_server

from server.engines.engine import Engine
from server.engines.reply_parser import ReplyParser
from server.http.connection import Connection, Deadlines
from server.http.connection_pool import ConnectionPool


@contextmanager
def nothing_left_of(kind: type) -> Generator[None]:
    """Without a collection, no further object of a type is left at the end."""
    gc.collect()
    gc.disable()
    before = _count(kind)
    try:
        yield
        assert _count(kind) == before
    finally:
        gc.enable()


def _count(kind: type) -> int:
    return sum(type(found) is kind for found in gc.get_objects())


@pytest.mark.parametrize("leaves", [False, True])
def test_a_client_s_connection_is_freed_when_it_ends(leaves: bool) -> None:
    """`leaves`: while the answer is on its way."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        gone = asyncio.Event()
        end_watch = scope["state"]["watch_disconnect"](gone.set)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        if leaves:
            await gone.wait()
        await send({"type": "http.response.body", "body": b"}"})
        end_watch()

    async def run() -> None:
        deadlines = Deadlines(head=5, idle=5, linger=5, write=5)
        http: Any = partial(Connection, deadlines, ConnectionPool())
        config = uvicorn.Config(app, port=0, http=http, lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"{" if leaves else b"0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        server.should_exit = True
        await serving

    with nothing_left_of(Connection):
        asyncio.run(run())


def test_an_engine_s_reply_is_freed_when_it_ends() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async def run() -> None:
        async with raw_server(serve) as port:
            client = Engine(f"http://127.0.0.1:{port}", None, 5.0)
            async with client.connected():
                for _ in range(2):
                    reply = client.post("/chat/completions", {}, {})
                    await reply.begin()
                    assert await reply.read() == b"{}"
                    await reply.aclose()

    with nothing_left_of(ReplyParser):
        asyncio.run(run())
