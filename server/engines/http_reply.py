"""An engine's reply over HTTP."""

import asyncio
import re
from time import monotonic

from httptools import HttpParserError

from server.engines.connection import EngineConnection
from server.engines.connector import Connector
from server.engines.reply import Pending, Sink, give
from server.engines.reply_parser import ReplyParser
from server.errors import EngineFailed, EngineTimeout
from server.http.timeouts import TimeoutPool

_STATUSES = range(200, 600)
"""HTTP statuses of a final response."""

_MAX_WAITING_BYTES = 2**18
"""Bytes of a stream that wait to be taken, above which the engine has to wait."""

_RETRY_AFTER = re.compile(r"\d{1,9}(\.\d{1,9})?|[A-Z][a-z]{2,8},? [A-Za-z0-9 :-]{10,40}", re.ASCII)
"""Seconds or a date."""


class HttpReply(asyncio.Protocol):
    """A reply of an engine; `cut` is None because only the engine knows.

    Args:
        connector: of the engine.
        request: line, headers and body; sent by `begin`.
        timeouts: the longest time without a byte.
    """

    __slots__ = (
        *("_connection", "_connector", "_failure", "_is_over", "_is_paused", "_is_repeated"),
        *("_parser", "_pending", "_request", "_sink", "_timeout", "_waiter"),
        *("_waiting_bytes", "cut"),
    )

    def __init__(self, connector: Connector, request: bytes, timeouts: TimeoutPool) -> None:
        self._connector = connector
        self._request = request
        self._timeout = timeouts.timeout()
        self._connection: EngineConnection | None = None
        self._parser = ReplyParser()
        self._sink: Sink | None = None
        self._pending: Pending | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: HttpParserError | None = None
        self._waiting_bytes = 0
        self._is_repeated = self._is_paused = self._is_over = False
        self.cut = None

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._parser.status

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self._parser.is_stream

    @property
    def retry_after(self) -> str | None:
        """The `Retry-After` header, if there is a valid one."""
        header = self._parser.headers.get(b"retry-after")
        if header is None:
            return None
        value = header.decode("latin-1")
        return value if _RETRY_AFTER.fullmatch(value) else None

    async def begin(self) -> None:
        """Send the request; wait for a stream's first bytes, or for all of any other body.

        Raises:
            EngineDown: no connection.
            EngineFailed: the connection broke, or the status is none.
            EngineTimeout: no byte arrived in time.
        """
        try:
            with self._timeout:
                used = self._connector.take()
                if used is None or not await self._exchange(used):
                    self._is_repeated = used is not None
                    await self._exchange(await self._connector.open())
        except TimeoutError as error:
            raise _timeout() from error
        self._request = b""  # which a stream would hold for as long as it lasts
        if self._failure is not None and not (self.is_stream and self._parser.body):
            raise _failed() from self._failure
        if self.status not in _STATUSES:
            raise EngineFailed(f"the engine answered with HTTP status {self.status}")

    async def _exchange(self, connection: EngineConnection) -> bool:
        """Send the request and wait; False where the engine had closed a connection that was used.

        RFC 9110, section 9.2.2: a client that knows that a request was not applied may repeat it.
        llama.cpp closes connections after a stream, though its headers promise to keep them.
        """
        self._connection, self._failure, self._is_over = connection, None, False
        connection.send(self._request, self)
        await self._arrival()
        is_stale = self._parser.is_silent and connection.requests > 1
        return not (is_stale and self._failure is not None)

    async def next_chunk(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end."""
        if not self._parser.body and not self._is_over:
            try:
                with self._timeout:
                    await self._arrival()
            except TimeoutError as error:
                raise _timeout() from error
        if self._parser.body:
            return self._take()
        if self._failure is not None:
            raise _failed() from self._failure
        return b""

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining bytes to `sink`, in chunks as they arrive."""
        if self._connection is not None:
            self._connection.stream()
        while not self._is_over or self._parser.body:
            if self._parser.body:
                await give(sink, self._take())
            else:
                await self._relay(sink)
        await self.next_chunk()  # raises what ended the stream

    async def _relay(self, sink: Sink) -> None:
        """Relay chunks where they arrive, until the sink waits or the body is over."""
        self._sink = sink
        try:
            with self._timeout:
                await self._arrival()
        except TimeoutError as error:
            raise _timeout() from error
        except asyncio.CancelledError:
            if self._pending is not None:
                self._pending.close()  # nobody will await it
            raise
        finally:
            self._sink = None
            pending, self._pending = self._pending, None
        if pending is not None:
            await pending

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        return self._take()

    async def aclose(self) -> None:
        """End the request at any point; the connection is reused if the body is complete.

        Not where the engine had closed the one before in silence: it may do so again.
        """
        connection, self._connection = self._connection, None
        self._parser.release()
        if connection is None:
            return
        is_sent = not connection.transport.get_write_buffer_size()
        if self._parser.keeps_connection and is_sent and not self._is_repeated:
            self._connector.keep(connection)
        else:
            connection.transport.abort()

    # What the connection reports

    def data_received(self, data: bytes) -> None:
        """Take bytes of the reply; they go on to the sink at once where one is ready for them."""
        parser = self._parser
        try:
            parser.feed(data)
        except HttpParserError as error:
            self._fail(error)
        ends_wait = self._is_over = parser.is_complete or self._failure is not None
        body = parser.body
        if body:
            self._timeout.started = monotonic()
            if self._sink is not None:
                try:
                    self._pending = self._sink(body.pop() if len(body) == 1 else parser.take())
                    ends_wait = ends_wait or self._pending is not None
                except Exception as error:  # noqa: BLE001 - raised in the task of `stream_to`
                    self._end_wait(error)
            elif parser.is_stream or parser.begins_as_events():
                self._limit(len(data))
                ends_wait = True
        if ends_wait:
            self._end_wait()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        try:
            self._parser.feed_eof()
        except HttpParserError as error:
            self._fail(error)
        self._is_over = True
        self._end_wait()

    def _fail(self, error: HttpParserError) -> None:
        self._parser.keeps_connection = False
        if not self._parser.is_complete:
            self._failure = self._failure or error

    def _limit(self, size: int) -> None:
        """Have the engine wait while too much of its stream does."""
        self._waiting_bytes += size
        if self._waiting_bytes > _MAX_WAITING_BYTES and not (self._is_paused or self._is_over):
            assert self._connection is not None
            self._connection.transport.pause_reading()
            self._is_paused = True

    def _take(self) -> bytes:
        self._waiting_bytes = 0
        if self._is_paused and self._connection is not None:
            self._is_paused = False
            self._connection.transport.resume_reading()
        return self._parser.take()

    # What a task waits for

    async def _arrival(self) -> None:
        """Wait for the end of the reply, or of a stream for some of it."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _end_wait(self, error: Exception | None = None) -> None:
        self._sink = None
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _failed() -> EngineFailed:
    return EngineFailed("the engine closed the connection before its answer was complete")


def _timeout() -> EngineTimeout:
    return EngineTimeout("the engine sent nothing for too long; try again later")
