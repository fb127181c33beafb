"""Standard error as a log: a write never raises and never blocks.

A full disk, a reader that died (EPIPE), a closed descriptor: those lines are lost and counted. A
reader that lives and reads nothing: lines wait in memory up to a bound, and a thread writes them
when there is room again.
"""

import io
import json
import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

_PIPE_BYTES = select.PIPE_BUF
"""A pipe that polls as writable takes this many bytes without blocking."""

_MAX_WAITING_BYTES = 2**20
_NEWLINE = 10


class LogStream(io.RawIOBase):
    """The bytes of a log, written to a file descriptor; safe to use from several threads.

    `lost_lines` counts lines that will never be written. The next line that can be written is
    preceded by one with the event `log lines lost`.
    """

    name = "<stderr>"

    def __init__(self, descriptor: int) -> None:
        self.lost_lines = 0
        self._is_file = False
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        with suppress(OSError):
            self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._unreported_lines = 0
        self._is_within_line = False
        self._on_loss: Callable[[int], None] | None = None

    def count_losses(self, add: Callable[[int], None]) -> None:
        """Report lost lines to a counter, those of the past included."""
        add(self.lost_lines)
        self._on_loss = add

    def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride] - never None
        """Write, queue or lose all of the data; returns its length."""
        size = len(data)
        with self._lock:
            if self._waiting or self._unreported_lines or not self._write_whole(data, size):
                self._write_or_queue(data)
        return size

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False  # a line is JSON, without colours

    def _write_whole(self, data: bytes, size: int) -> bool:
        """Write data of the usual length at once; False, and nothing, where that is impossible."""
        if size > _PIPE_BYTES or not (self._is_file or self._poll.poll(0)):
            return False
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            return False
        if written < size:
            self._is_within_line = True
            self._write_or_queue(data[written:])
        return True

    def _write_or_queue(self, data: bytes) -> None:
        if not self._waiting:
            data = self._write_now(data)
        if data:
            self._queue(data)

    def _write_now(self, data: bytes) -> bytes:
        """Write what fits without blocking; returns the remainder, if any."""
        remainder, failed = self._attempt(self._report() + data)
        if failed:
            self._lose(remainder[-len(data) :])  # not the report, which is due still
            return b""
        self._unreported_lines = 0
        return remainder

    def _attempt(self, data: bytes) -> tuple[bytes, bool]:
        """What is left to write, and whether that is because writing fails."""
        while data and self._poll.poll(0):
            try:
                written = os.write(self._descriptor, data[:_PIPE_BYTES])
            except BlockingIOError:
                break
            except OSError:
                return data, True
            self._is_within_line = data[written - 1] != _NEWLINE
            data = data[written:]
        return data, False

    def _queue(self, data: bytes) -> None:
        if len(self._waiting) + len(data) > _MAX_WAITING_BYTES:
            self._lose(data)
            return
        if not self._waiting:
            threading.Thread(target=self._drain, name="log", daemon=True).start()
        self._waiting += data

    def _drain(self) -> None:
        """Write what waits, then end."""
        poll = select.poll()  # one poll object serves one thread
        poll.register(self._descriptor, select.POLLOUT)
        while True:
            poll.poll()
            with self._lock:
                remainder, failed = self._attempt(bytes(self._waiting))
                self._waiting[:] = b"" if failed else remainder
                if failed:
                    self._lose(remainder)
                if not self._waiting:
                    return

    def _lose(self, data: bytes) -> None:
        lines = data.count(b"\n")
        self.lost_lines += lines
        self._unreported_lines += lines
        if self._on_loss is not None:
            self._on_loss(lines)

    def _report(self) -> bytes:
        if not self._unreported_lines:
            return b""
        line = {"event": "log lines lost", "lines": self._unreported_lines, "level": "warning"}
        return b"\n" * self._is_within_line + json.dumps(line).encode() + b"\n"


def replace_stderr() -> LogStream:
    """Make standard error a log stream, for prints, warnings and libraries as well."""
    stream = LogStream(2)
    sys.stderr = io.TextIOWrapper(
        stream, encoding="utf-8", errors="backslashreplace", write_through=True
    )
    return stream
