"""Hands on what an engine sends right where it comes in, not by a task that is woken for it."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from time import monotonic
from types import coroutine
from typing import Any, cast

import aiohttp

from server.patience import Wait

Take = Callable[[bytes], Awaitable[None] | None]
"""Takes a block of bytes; what it waits for, without a task of its own, holds up the next ones."""


class Tap(asyncio.Protocol):
    """Stands before the HTTP client's own protocol on a connection, and takes what that has read.

    To wake a task for every chunk, a turn of the event loop later, is a fifth of the CPU that a
    chunk takes (loadtest/BENCH.md). The client reads the HTTP as ever; what comes while nobody taps
    waits in its reader.

    Args:
        transport: the connection.
        content: the body of the response that comes over it.
        take: gets every block, in order.
        wait: begins anew with each.
    """

    def __init__(
        self, transport: asyncio.Transport, content: aiohttp.StreamReader, take: Take, wait: Wait
    ) -> None:
        self._transport = transport
        self._client = cast("asyncio.Protocol", transport.get_protocol())
        self._content = content
        self._take = take
        self._wait = wait
        self._over: asyncio.Future[Awaitable[None] | None]
        self._over = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Hand on blocks until the body is over, or one has to be waited with.

        Raises:
            TimeoutError: none came for too long.
        """
        self._content.on_eof(self._end)
        self._transport.set_protocol(self)
        try:
            with self._wait:
                rest = await self._over
        finally:
            self._leave()
        if rest is not None:
            await rest

    def data_received(self, data: bytes) -> None:
        """Let the client read it, and take the body that was in it."""
        self._client.data_received(data)
        if self._over.done():
            return
        try:
            block = self._content.read_nowait()
        except Exception:  # noqa: BLE001 - who reads the rest gets it again
            self._end()
            return
        if not block:
            return
        self._wait.begun = monotonic()
        try:
            taking = self._take(block)
            if taking is None:
                return
            steps = taking.__await__()
            waits_for = next(steps)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - the task's to raise
            self._leave()
            self._over.set_exception(error)
        else:
            self._end(_go_on(steps, waits_for))

    def eof_received(self) -> bool | None:
        """Tell the client."""
        return self._client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client, who knows what it means."""
        self._client.connection_lost(exc)
        self._end()

    def pause_writing(self) -> None:
        """Tell the client."""
        self._client.pause_writing()

    def resume_writing(self) -> None:
        """Tell the client."""
        self._client.resume_writing()

    def _end(self, rest: Awaitable[None] | None = None) -> None:
        self._leave()
        if not self._over.done():
            self._over.set_result(rest)

    def _leave(self) -> None:
        """Give the connection back to the client, who may give it to another request at once."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._client)


@coroutine
def _go_on(steps: Generator[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """What is left of an awaitable that was run up to its first wait."""
    yield waits_for
    yield from steps
