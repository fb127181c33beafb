"""Passes an engine's stream on from within the transport's callback, without waking a task.

Uses private behaviour of aiohttp: what its protocol and its stream reader do when a body arrives.
tests/test_dependencies.py names what is used; pyproject.toml bounds the version.
"""

import asyncio
from collections.abc import Generator
from time import monotonic
from types import coroutine
from typing import Any, cast

import aiohttp
from aiohttp import hdrs

from server.engines.reply import Sink
from server.http.timeouts import Timeout

_READY = object()
_MAX_SIZE_DIGITS = 12
"""Bytes within which the size line of an HTTP chunk ends, if the chunk is to be decoded here."""


class FastRelay(asyncio.Protocol):
    """Takes the place of the HTTP client's protocol on a connection while a body arrives.

    Waking a task for every chunk, one turn of the event loop later, is a tenth of the CPU time of a
    chunk or more, and the client's parsing is a sixth (docs/benchmarks/gateway.md). Data that is
    exactly one HTTP chunk (of the chunked transfer encoding), and arrives where an HTTP chunk
    begins, is therefore decoded here, and the client's parser need not see it. All other data goes
    through the client's parser. What arrives between two calls of `run` waits in the client's
    stream reader.

    Args:
        transport: the connection.
        response: the response whose body arrives on it.
        sink: receives every chunk, in order.
        timeout: restarted with each chunk.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        response: aiohttp.ClientResponse,
        sink: Sink,
        timeout: Timeout,
    ) -> None:
        self._transport = transport
        self._client = cast("asyncio.Protocol", transport.get_protocol())
        self._reader = response.content
        self._is_encoded = hdrs.CONTENT_ENCODING in response.headers
        self._between_chunks = False
        self._timeout = timeout
        self._feeder = _feed(sink)
        self._pending = self._feeder.send(None)
        self._ended: asyncio.Future[None]

    async def run(self) -> None:
        """Pass chunks on until the body ends, or until the sink has waited for one of them.

        Call it again until the body has ended.

        Raises:
            TimeoutError: no chunk arrived in time.
        """
        self._ended = asyncio.get_running_loop().create_future()
        self._transport.set_protocol(self)
        try:
            self.data_received(b"")  # chunks that arrived before are in the reader
            with self._timeout:
                await self._ended
        finally:
            self._restore_client()
        await self._finish()

    def data_received(self, data: bytes) -> None:
        """Pass on the part of the body that is in the data."""
        decoded = self._between_chunks and _decode_single(data)
        chunk = decoded or self._read(data)
        if chunk:
            self._timeout.started = monotonic()
            try:
                self._pending = self._feeder.send(chunk)
            except Exception as error:  # noqa: BLE001 - raised in the task that called `run`
                self._end(error)
                return
        at_end = not decoded and (self._reader.is_eof() or self._reader.exception())
        if at_end or self._pending is not _READY:
            self._end()

    def _read(self, data: bytes) -> bytes:
        """The body as the client's parser decodes it, with what its reader had buffered."""
        self._client.data_received(data)
        chunk = read_buffered(self._reader)
        # No line of the encoding ends so; were this the body itself, it would end in \r\n as well.
        at_boundary = data.endswith(b"\n\n\r\n") and chunk.endswith(b"\n\n")
        self._between_chunks = at_boundary and not self._is_encoded
        return chunk

    def eof_received(self) -> bool | None:
        return self._client.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client, which knows whether the body is complete."""
        self._client.connection_lost(exc)
        self._end()

    def pause_writing(self) -> None:
        self._client.pause_writing()

    def resume_writing(self) -> None:
        self._client.resume_writing()

    def _end(self, error: Exception | None = None) -> None:
        self._restore_client()
        if self._ended.done():
            return
        if error:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    def _restore_client(self) -> None:
        """Give the connection back at once: the client may use it for another request."""
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._client)

    @coroutine
    def _finish(self) -> Generator[Any, Any, None]:
        """Wait, in the task that called `run`, until the sink has taken the chunk."""
        while self._pending is not _READY:
            yield self._pending
            self._pending = self._feeder.send(None)


def read_buffered(reader: aiohttp.StreamReader) -> bytes:
    """What arrived and was not read, before an error too; whoever reads next gets the error."""
    read = reader._read_nowait  # pyright: ignore[reportPrivateUsage]
    blocks = [read(-1)]
    while blocks[-1]:  # a reader that has become empty lets its parser go on
        blocks.append(read(-1))
    return b"".join(blocks)


def _decode_single(data: bytes) -> bytes:
    """The content of data that is exactly one HTTP chunk; empty for any other data."""
    at = data.find(b"\r\n", 0, _MAX_SIZE_DIGITS)
    size = len(data) - at - 4
    if at <= 0 or size <= 0 or data[:at].lower() != b"%x" % size or not data.endswith(b"\r\n"):
        return b""
    return data[at + 2 : -2]


def _feed(sink: Sink) -> Generator[Any, Any, None]:
    """Give the sink each chunk that is sent in; yields what it waits for, `_READY` when idle."""
    while True:
        yield from sink((yield _READY)).__await__()
