"""A client's connection: uvicorn's, with what it lacks towards clients of every kind."""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD = 2**16
"""Bytes of a request's line and headers; more are not kept."""

_OFFER = (b"connection", b"upgrade", b"http2-settings")
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
        self._unread: asyncio.TimerHandle | None = None
        self._head = 0
        self._in_head = False

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._in_head:
            self._head += len(data)
            if self._head > _MOST_HEAD:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """The parser's."""
        super().on_message_begin()
        self._head, self._in_head = 0, True

    def on_headers_complete(self) -> None:
        """The parser's."""
        self._in_head = False
        if not self._offered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser's."""
        if not self._offered:
            super().on_message_complete()

    @property
    def _offered(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _decline(self, rest: bytes) -> None:
        """Read the request once more, without the offer, which ends what the parser reads."""
        if not self._offered:
            return
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in _OFFER]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"\r\n".join([*lines, b"", rest]))

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
        unread = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self._unread_seconds, self._look, unread)

    def _look(self, unread: int) -> None:
        """Leave a client that took nothing since; one that is slow is waited for."""
        if self.transport.get_write_buffer_size() < unread:
            self._watch()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
