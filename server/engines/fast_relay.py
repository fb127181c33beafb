"""Hands on what an engine sends right where it comes in, not by a task that is woken for it."""

import asyncio
from collections.abc import Generator
from time import monotonic
from types import coroutine
from typing import Any, cast

import aiohttp
from aiohttp import hdrs

from server.engines.reply import Sink
from server.http.timeouts import Wait

_READY = object()
_LONGEST_SIZE = 12
"""Bytes within which the size of a chunk ends, if it is to be read here."""


class FastRelay(asyncio.Protocol):
    """Stands before the HTTP client's own protocol on a connection, and takes the body that comes.

    To wake a task for every chunk, a turn of the event loop later, is a tenth of the CPU that a
    chunk takes, or more, and the client's reading is a sixth (loadtest/BENCH.md). So data that is
    one whole chunk, and comes where a chunk begins, is read here, and the client does not miss it;
    it reads all else. What comes while nobody taps waits in its reader.

    Args:
        transport: the connection.
        response: whose body comes over it.
        sink: gets every block, in order.
        wait: begins anew with each.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        response: aiohttp.ClientResponse,
        sink: Sink,
        wait: Wait,
    ) -> None:
        self._transport = transport
        self._client = cast("asyncio.Protocol", transport.get_protocol())
        self._content = response.content
        self._encoded = hdrs.CONTENT_ENCODING in response.headers
        self._between_chunks = False
        self._wait = wait
        self._taking = _feed(sink)
        self._waits_for = self._taking.send(None)
        self._over: asyncio.Future[None]

    async def run(self) -> None:
        """Hand on blocks until the body is over, or until one that was waited with; then again.

        Raises:
            TimeoutError: none came for too long.
        """
        self._over = asyncio.get_running_loop().create_future()
        self._transport.set_protocol(self)
        try:
            self.data_received(b"")  # what came while nobody tapped is there already
            with self._wait:
                await self._over
        finally:
            self._leave()
        await self._finish()

    def data_received(self, data: bytes) -> None:
        """Sink the body that is in it."""
        whole = self._between_chunks and _whole_chunk(data)
        block = whole or self._read(data)
        if block:
            self._wait.begun = monotonic()
            try:
                self._waits_for = self._taking.send(block)
            except Exception as error:  # noqa: BLE001 - the task's to raise
                self._end(error)
                return
        over = not whole and (self._content.is_eof() or self._content.exception())
        if over or self._waits_for is not _READY:
            self._end()

    def _read(self, data: bytes) -> bytes:
        """All that the client reads in it, and what it held up until there was room."""
        self._client.data_received(data)
        block = b""
        try:
            while more := self._content.read_nowait():
                block += more
        except Exception:  # noqa: BLE001 - who reads the rest gets it again
            return block
        # no line of the encoding ends so; were it the body itself, the block would end in \r\n too
        ended = data.endswith(b"\n\n\r\n") and block.endswith(b"\n\n")
        self._between_chunks = ended and not self._encoded
        return block

    def eof_received(self) -> bool | None:
        """Tell the client."""
        return self._client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client, who knows what it means, but for a body that it could not read."""
        self._client.connection_lost(exc)
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("the body is not readable"))
        self._end()

    def pause_writing(self) -> None:
        """Tell the client."""
        self._client.pause_writing()

    def resume_writing(self) -> None:
        """Tell the client."""
        self._client.resume_writing()

    def _end(self, error: Exception | None = None) -> None:
        self._leave()
        if self._over.done():
            return
        if error:
            self._over.set_exception(error)
        else:
            self._over.set_result(None)

    def _leave(self) -> None:
        """Give the connection back to the client, who may give it to another request at once."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._client)

    @coroutine
    def _finish(self) -> Generator[Any, Any, None]:
        """Wait in a task, until the last block is taken."""
        while self._waits_for is not _READY:
            yield self._waits_for
            self._waits_for = self._taking.send(None)


def _whole_chunk(data: bytes) -> bytes:
    """What is in data that is one chunk of HTTP's chunked encoding; nothing of any other."""
    at = data.find(b"\r\n", 0, _LONGEST_SIZE)
    size = len(data) - at - 4
    if at <= 0 or size <= 0 or data[:at].lower() != b"%x" % size or not data.endswith(b"\r\n"):
        return b""
    return data[at + 2 : -2]


def _feed(sink: Sink) -> Generator[Any, Any, None]:
    """Give the sink each chunk that is sent in; yields what it waits for, `_READY` when idle."""
    while True:
        yield from sink((yield _READY)).__await__()
