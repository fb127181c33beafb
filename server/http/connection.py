"""A client's connection: uvicorn's, with limits and courtesies that uvicorn does not have.

Uses private parts of uvicorn and httptools. tests/test_dependencies.py names them; pyproject.toml
bounds the versions.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, cast
from weakref import ref

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.errors import error_envelope
from server.http.connection_pool import ConnectionPool
from server.http.light_event import Event
from server.http.pipeline import Pipeline
from server.http.response_head import begin_response
from server.http.write_watch import WriteWatch

MAX_HEAD_BYTES = 2**16
"""Bytes of a request's line and headers; also of the trailers and chunk headers between two bytes
of a body."""

MAX_HEADERS = 100

_UPGRADE_HEADERS = (b"upgrade", b"http2-settings")
"""Headers that offer another protocol."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds after which a client's connection is closed.

    Attributes:
        head: until line and headers of a request are complete: since the connection was accepted,
            or since their first byte.
        idle: without a request, after an answer.
        linger: after an answer to a request whose body was not read; the client may read it.
        write: without a byte read of an answer.
    """

    head: float
    idle: float
    linger: float
    write: float


def _refusal(status: HTTPStatus, message: str, code: str | None = None) -> bytes:
    is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = "server_error" if is_ours else "invalid_request_error"
    body = orjson.dumps(error_envelope(message, kind, code=code))
    retry = "retry-after: 1\r\n" if is_ours else ""
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/json\r\n{retry}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_INVALID = _refusal(HTTPStatus.BAD_REQUEST, "this is no valid HTTP/1.1 request")
_TOO_LARGE = _refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"a request may have {MAX_HEADERS} headers, and {MAX_HEAD_BYTES} bytes of headers or trailers",
    "headers_too_large",
)
_TOO_SLOW = _refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "line and headers of the request were not complete in time; send it again",
    "request_timeout",
)
_TOO_MANY = _refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "this server has too many connections; try again shortly",
    "too_many_connections",
)


class Connection(HttpToolsProtocol):
    """Serves the requests of one client, one after the other.

    - Upgrades to other protocols (Java's client offers HTTP/2 with each request) are declined by
      answering in HTTP/1.1; uvicorn alone would lose the request's body.
    - A request's line and headers have a limit, in bytes, in number and in time. Trailers are
      dropped: to uvicorn they are headers, which could authenticate.
    - A connection ends at a deadline in each of its states, except while a request is answered.

    Args:
        deadlines: seconds in which a client must do what comes next.
        pool: the connections of this process.
        options: uvicorn's.
    """

    __slots__ = (  # with more than 30 attributes in the dictionary, it would take 1 KiB more
        *("_deadlines", "_discards", "_head_bytes", "_head_is_open", "_head_is_timed"),
        *("_on_disconnect", "_pool", "_refusal", "_response_transport", "_watch"),
    )

    def __init__(self, deadlines: Deadlines, pool: ConnectionPool, **options: Any) -> None:
        super().__init__(**options)
        self.pipeline = Pipeline()  # pyright: ignore[reportAttributeAccessIssue] - has what it uses
        self._deadlines, self._pool = deadlines, pool
        self._head_is_open = self._head_is_timed = False
        self._head_bytes = 0
        self._refusal = _INVALID
        self._discards = False
        self._on_disconnect: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's
        super().connection_made(transport)
        cast("Any", self.flow)._is_writable_event = Event(is_set=True)
        self._watch = WriteWatch(transport, self._deadlines.write, self.loop)
        self._response_transport = _ResponseTransport(transport, self._close_after_response)
        self._head_is_timed = True
        self._set_deadline(self._deadlines.head)
        if self._pool.open(self):
            return
        if self._pool.may_refuse_politely:
            self._refuse(_TOO_MANY)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.close(self)
        self._watch.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._report_disconnect()
        self._release()

    def _release(self) -> None:
        """Let go of what refers back to the connection: only a collection would free both.

        The answer of a request that is still under way goes to its own `cycle`.
        """
        self.cycle = self.scope = None  # pyright: ignore[reportAttributeAccessIssue] - as at the start
        self.pipeline.clear()
        del self._response_transport

    def evict(self) -> None:
        self.transport.abort()

    # What a client sends

    def data_received(self, data: bytes) -> None:
        """Parse requests, as uvicorn does, with upgrades declined and the head limited."""
        if self._discards:
            return
        self._head_bytes += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError:
                self._refuse(self._refusal)
                return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._head_is_open and not self._head_is_timed and self._is_waiting:
            self._head_is_timed = True
            self._set_deadline(self._deadlines.head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_is_open = True

    def on_headers_complete(self) -> None:
        self._head_is_open = self._head_is_timed = False
        self._unset_keepalive_if_required()
        if len(self.headers) > MAX_HEADERS or self._head_is_too_large():
            self._refusal = _TOO_LARGE
            raise ValueError  # stops the parser
        self._head_bytes = 0
        if not self._is_upgrade:
            super().on_headers_complete()
            self.cycle.transport = self._response_transport  # pyright: ignore[reportAttributeAccessIssue] - has what it uses
            self.cycle.message_event = Event()  # pyright: ignore[reportAttributeAccessIssue] - the same
            state = cast("Any", self.scope)["state"]
            state["close_unread"] = self._close_unread
            state["watch_disconnect"] = self._watch_disconnect
            state["begin_response"] = partial(begin_response, ref(self.cycle))
            self.headers = []  # the parser adds the trailers, which nobody reads

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_upgrade:
            super().on_message_complete()
            self._pool.end_wait(self)

    def _head_is_too_large(self) -> bool:
        if self._head_bytes <= MAX_HEAD_BYTES:  # which include the body that came with the head
            return False
        return sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES

    @property
    def _is_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _without_upgrade(self, remaining: bytes) -> bytes:
        """The request again without the upgrade, and the bytes that follow its head.

        A parser reads nothing after an upgrade, so a new one takes over.
        """
        if not self._is_upgrade:
            return b""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                options = value.split(b",")
                options = [o for o in options if o.strip().lower() not in _UPGRADE_HEADERS]
                lines.append(b"connection: " + b",".join(options))
            elif name not in _UPGRADE_HEADERS:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join([*lines, b"", remaining])

    # What the client gets

    def on_response_complete(self) -> None:
        if self._discards:
            return
        if self._has_unread_body:
            self._linger()
            return
        self.server_state.total_requests += 1  # as uvicorn does, but without a timer of its own
        if not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            else:
                self._pool.idle.add(self, self._deadlines.idle)
        if self.parser is None:  # pyright: ignore[reportUnnecessaryComparison] - the connection has ended
            return
        if self._is_waiting or self.cycle.more_body:
            self._pool.wait(self)
        if self._is_waiting and self._head_is_open:
            self._head_is_timed = True
            self._set_deadline(self._deadlines.head)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch.start()

    def resume_writing(self) -> None:
        self._watch.stop()
        super().resume_writing()

    # How it ends

    @property
    def _is_waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _unset_keepalive_if_required(self) -> None:
        super()._unset_keepalive_if_required()
        self._pool.idle.discard(self)

    def _set_deadline(self, seconds: float) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection at a deadline; a client that has begun a request gets an answer."""
        if self._head_is_open and not self._discards:
            self._refuse(_TOO_SLOW)
        elif not self.transport.is_closing():
            self.transport.close()
            self.timeout_keep_alive_task = self.loop.call_later(  # closing waits for the client
                self._deadlines.write, self.transport.abort
            )

    def _refuse(self, response: bytes) -> None:
        """Answer what is no request, or has a broken body, unless an answer has begun."""
        if self._is_waiting or not (self.pipeline or self.cycle.response_started):
            self.transport.write(response)
            self._linger()
        else:
            self.transport.close()
        if self.cycle is not None:  # pyright: ignore[reportUnnecessaryComparison]
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._report_disconnect()

    def _watch_disconnect(self, on_disconnect: Callable[[], None]) -> Callable[[], None]:
        """Report when the client disconnects, until the function that is returned is called."""
        self._on_disconnect = on_disconnect
        if self.transport.is_closing() or self.cycle.disconnected:
            self._report_disconnect()
        return self._end_watch

    def _end_watch(self) -> None:
        self._on_disconnect = None

    def _report_disconnect(self) -> None:
        if self._on_disconnect is not None:
            self._on_disconnect()

    def _close_unread(self) -> None:
        """Close the connection after the answer, which says so, if the body has not arrived."""
        if self._has_unread_body:
            self.cycle.keep_alive = False

    def _close_after_response(self) -> None:
        if self._has_unread_body:
            self._linger()
        else:
            self.transport.close()

    @property
    def _has_unread_body(self) -> bool:
        """Whether the body of the request that is being answered has not arrived."""
        return self.cycle is not None and self.cycle.more_body and not self.pipeline  # pyright: ignore[reportUnnecessaryComparison]

    def _linger(self) -> None:
        """End the connection, but go on reading for a while: a reset could lose the answer."""
        if self._discards or self.transport.is_closing():
            return
        self._discards = True
        self._pool.wait(self)
        self.flow.resume_reading()
        self.transport.write_eof()
        self._set_deadline(self._deadlines.linger)


class _ResponseTransport:
    """A connection as a response sees it."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close
