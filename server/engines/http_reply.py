"""An engine's reply over HTTP, and the translation of the HTTP client's errors into ours."""

import re
from collections.abc import Awaitable, Callable

import aiohttp
import structlog

from server.engines.fast_relay import FastRelay, read_buffered
from server.engines.reply import Sink
from server.errors import EngineDown, EngineError, EngineFailed, EngineTimeout
from server.http.descriptors import is_exhaustion
from server.http.timeouts import TimeoutPool

log = structlog.get_logger(__name__)

CLIENT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""Everything that a request of the HTTP client may raise."""

_STATUSES = range(200, 600)
"""HTTP statuses of a final response."""

_RETRY_AFTER = re.compile(r"\d{1,9}(\.\d{1,9})?|[A-Z][a-z]{2,8},? [A-Za-z0-9 :-]{10,40}", re.ASCII)
"""Seconds or a date."""

_UNREACHABLE = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ConnectionRefusedError,
)


class HttpReply:
    """A reply of an engine; `cut` is None because only the engine knows.

    Args:
        post: sends the request; awaited once, by `begin`.
        timeouts: the longest time without a byte.
    """

    def __init__(
        self, post: Callable[[], Awaitable[aiohttp.ClientResponse]], timeouts: TimeoutPool
    ) -> None:
        self._post = post
        self._timeout = timeouts.timeout()
        self._response: aiohttp.ClientResponse | None = None
        self._buffered = b""
        self.cut = None

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._begun.status

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self._begun.content_type == "text/event-stream"

    @property
    def retry_after(self) -> str | None:
        """The `Retry-After` header, if there is a valid one."""
        value = self._begun.headers.get("retry-after", "")
        return value if _RETRY_AFTER.fullmatch(value) else None

    @property
    def _begun(self) -> aiohttp.ClientResponse:
        assert self._response is not None, "begin comes first"
        return self._response

    async def begin(self) -> None:
        """Send the request; wait for a stream's first bytes, or for all of any other body.

        Raises:
            EngineDown: no connection.
            EngineFailed: the connection broke, or the status is none.
            EngineTimeout: no byte arrived in time.
        """
        try:
            with self._timeout:
                self._response = await self._post()
        except CLIENT_ERRORS as error:
            raise translate(error) from error
        if self.status not in _STATUSES:
            raise EngineFailed(f"the engine answered with HTTP status {self.status}")
        self._buffered = await (self.next_chunk() if self.is_stream else self._read_all())

    async def next_chunk(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end."""
        if self._buffered:
            chunk, self._buffered = self._buffered, b""
            return chunk
        try:
            with self._timeout:
                return await self._begun.content.readany()
        except CLIENT_ERRORS as error:
            if buffered := read_buffered(self._begun.content):
                return buffered
            raise translate(error) from error

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining bytes to `sink`, in chunks as they arrive."""
        relay = None
        while chunk := await self.next_chunk():
            await sink(chunk)
            connection = self._begun.connection
            if connection is None or connection.transport is None:  # the body is complete
                continue
            relay = relay or FastRelay(connection.transport, self._begun, sink, self._timeout)
            try:
                await relay.run()
            except TimeoutError as error:
                raise translate(error) from error

    async def _read_all(self) -> bytes:
        chunks: list[bytes] = []
        while chunk := await self.next_chunk():
            chunks.append(chunk)
        return b"".join(chunks)

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        return self._buffered

    async def aclose(self) -> None:
        """End the request at any point; the connection is reused if the body is complete."""
        if self._response is not None:
            at_eof = self._response.content.at_eof()
            self._response.release() if at_eof else self._response.close()


def translate(error: Exception) -> EngineError:
    """The gateway's error for one of `CLIENT_ERRORS`."""
    if is_exhaustion(error):
        log.error("no file descriptor is left for a connection to the engine: raise ulimit -n")
        return EngineDown("the gateway has no file descriptor left; try again shortly")
    if isinstance(error, _UNREACHABLE):
        return EngineDown("the engine cannot be reached; try again shortly")
    if isinstance(error, TimeoutError):  # aiohttp's own time-outs are subclasses
        return EngineTimeout("the engine sent nothing for too long; try again later")
    return EngineFailed("the engine closed the connection before its answer was complete")
