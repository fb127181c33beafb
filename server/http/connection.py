"""A client's connection: uvicorn's, with limits and courtesies that uvicorn does not have.

Uses private parts of uvicorn and httptools. tests/test_dependencies.py names them; pyproject.toml
bounds the versions.
"""

import asyncio
import contextlib
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if sys.platform != "win32":
    import fcntl
    import termios

_MAX_HEAD_BYTES = 2**16
"""Bytes of a request's line and headers; a longer head is refused."""

_UPGRADE_HEADERS = (b"upgrade", b"http2-settings")
"""Headers that offer another protocol."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Connection(HttpToolsProtocol):
    """Serves the requests of one client, one after the other.

    - Upgrades to other protocols (Java's client offers HTTP/2 with each request) are declined by
      answering in HTTP/1.1; uvicorn alone would lose the request's body.
    - A request's line and headers have a limit of 64 KiB.
    - A client that stops reading its answer is disconnected.

    Args:
        write_timeout: seconds without a byte read, after which a client is disconnected.
        options: uvicorn's.
    """

    def __init__(self, write_timeout: float, **options: Any) -> None:
        super().__init__(**options)
        self._write_timeout = write_timeout
        self._write_timer: asyncio.TimerHandle | None = None
        self._open_head: list[tuple[bytes, bytes]] | None = None
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse requests, as uvicorn does, with upgrades declined and the head limited."""
        self._unset_keepalive_if_required()
        open_head, size = self._open_head, len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(data[upgrade.args[0] :])
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
        if open_head is not None and self._open_head is open_head:  # all data was of this head
            self._head_bytes += size
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._open_head, self._head_bytes = self.headers, 0

    def on_headers_complete(self) -> None:
        self._open_head = None
        if not self._is_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_upgrade:
            super().on_message_complete()

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

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_write_timer()
        super().connection_lost(exc)

    def _start_write_timer(self) -> None:
        unread = self._unread_bytes()
        self._write_timer = self.loop.call_later(self._write_timeout, self._check_progress, unread)

    def _check_progress(self, unread_before: int) -> None:
        """Disconnect a client that has read nothing since; a slow one gets another period."""
        if self._unread_bytes() < unread_before:
            self._start_write_timer()
        else:
            self.transport.abort()

    def _unread_bytes(self) -> int:
        """Bytes that the client has not received: in this process and in the system's buffer."""
        unread = self.transport.get_write_buffer_size()
        if sys.platform != "win32":
            client = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError, TypeError):
                queued = fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4))
                unread += int.from_bytes(queued, sys.byteorder)
        return unread

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
