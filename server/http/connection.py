"""A client's connection: uvicorn's, with what it lacks towards clients of every kind."""

import asyncio
import contextlib
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if sys.platform != "win32":
    import fcntl
    import termios

_MOST_HEAD = 2**16
"""Bytes of a request's line and headers; more are not kept."""

_OFFER = (b"upgrade", b"http2-settings")
"""Headers that offer another protocol."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Connection(HttpToolsProtocol):
    """Takes requests from one client, one after the other.

    Other protocols that are offered (Java's client offers HTTP/2 with each request) are declined as
    HTTP has it, by answering in this one; uvicorn loses the request's body. Headers have a bound.

    Args:
        unread_seconds: after which a client that takes nothing of its answer is taken to be gone.
        more: uvicorn's.
    """

    def __init__(self, unread_seconds: float, **more: Any) -> None:
        super().__init__(**more)
        self._unread_seconds = unread_seconds
        self._watching: asyncio.TimerHandle | None = None
        self._unfinished: list[tuple[bytes, bytes]] | None = None
        self._head = 0

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        self._unset_keepalive_if_required()
        before, size = self._unfinished, len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offer:
                data = self._declined(data[offer.args[0] :])
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
        if before is not None and self._unfinished is before:  # nothing else was in the data
            self._head += size
            if self._head > _MOST_HEAD:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """The parser's."""
        super().on_message_begin()
        self._unfinished, self._head = self.headers, 0

    def on_headers_complete(self) -> None:
        """The parser's."""
        self._unfinished = None
        if not self._offered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser's."""
        if not self._offered:
            super().on_message_complete()

    @property
    def _offered(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _declined(self, rest: bytes) -> bytes:
        """The request once more, without the offer, which ends what a parser reads."""
        if not self._offered:
            return b""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                kept = [one for one in value.split(b",") if one.strip().lower() not in _OFFER]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in _OFFER:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join([*lines, b"", rest])

    def pause_writing(self) -> None:
        """The transport's: much of an answer is unread."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The transport's."""
        self._stop_watching()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport's."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._watching = self.loop.call_later(self._unread_seconds, self._look, self._unread())

    def _look(self, unread: int) -> None:
        """Leave a client that took nothing since; one that is slow is waited for."""
        if self._unread() < unread:
            self._watch()
        else:
            self.transport.abort()

    def _unread(self) -> int:
        """Bytes that the client has not taken yet: here, and as far as it tells in the system."""
        unread = self.transport.get_write_buffer_size()
        if sys.platform != "win32":
            client = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError, TypeError):
                held = fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4))
                unread += int.from_bytes(held, sys.byteorder)
        return unread

    def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
