"""Disconnects a client that has stopped reading its answer."""

import asyncio
import contextlib
import sys

if sys.platform != "win32":
    import fcntl
    import termios


class WriteWatch:
    """Watches, while it is started, whether a client reads what is written to it.

    Args:
        transport: the client's connection; aborted when the client has stopped reading.
        timeout: seconds without a byte read.
        loop: the event loop.
    """

    __slots__ = ("_loop", "_timeout", "_timer", "_transport")

    def __init__(
        self, transport: asyncio.Transport, timeout: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._transport, self._timeout, self._loop = transport, timeout, loop
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        unread = self._unread_bytes()
        self._timer = self._loop.call_later(self._timeout, self._check_progress, unread)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_progress(self, unread_before: int) -> None:
        """Disconnect a client that has read nothing since; a slow one gets another period."""
        if self._unread_bytes() < unread_before:
            self.start()
        else:
            self._transport.abort()

    def _unread_bytes(self) -> int:
        """Bytes that the client has not received: in this process and in the system's buffer."""
        unread = self._transport.get_write_buffer_size()
        if sys.platform != "win32":
            client = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError, TypeError):
                queued = fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4))
                unread += int.from_bytes(queued, sys.byteorder)
        return unread
