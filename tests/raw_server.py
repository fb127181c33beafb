"""A server of raw connections on loopback."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """The port of a server that runs `serve` for each connection and closes it afterwards.

    At the end of the block every connection ends, the one too that was just accepted.
    """
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        task.add_done_callback(lambda _: writer.close())
        connections[task] = writer

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # a connection that is accepted in the turn of `close` is leaked (CPython gh-109564), so the
        # server first stops to accept
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        await _turns()  # what was accepted reaches `begin`
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for writer in connections.values():
            writer.transport.abort()
        await _turns()  # the transports close their sockets


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
