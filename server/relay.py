"""Relay an engine's event stream as it comes; only the last events are read.

A block of bytes passes through unchanged as long as nothing in it looks like an end. From the
first event with a finish reason on, events are looked at one by one: the finish event waits for
the usage event that follows it, so that `tops` can go into the last chunk that the client gets.
Pure: bytes in, bytes out.
"""

import re
from collections.abc import Callable
from typing import Any, cast

import orjson

from server.usage import Usage, read_usage

_END = re.compile(rb'"finish_reason":\s*"|"usage":\s*\{|"error":\s*\{|\[DONE\]')
_FINISH = re.compile(rb'"finish_reason":\s*"')
_USAGE = re.compile(rb'"usage":\s*\{')
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
_ERROR = re.compile(rb'"error":\s*\{')
_BOUNDARY = re.compile(rb"\r?\n\r?\n")


class Relay:
    """One stream.

    Args:
        wants_usage: the client asked for the usage chunk itself.
        tops: makes the `tops` object once the usage is known (or will not come).
    """

    def __init__(self, wants_usage: bool, tops: Callable[[Usage | None], dict[str, Any]]) -> None:
        self._wants_usage = wants_usage
        self._tops = tops
        self._rest = b""
        self._held: bytes | None = None
        self._told = False
        self._usage: Usage | None = None
        self.failed = False
        self.complete = False

    def feed(self, block: bytes) -> bytes:
        """What to send on for a block that arrived; may be empty."""
        block = self._rest + block
        if self._held is None and not _END.search(block):
            cut = max(block.rfind(b"\n\n") + 2, block.rfind(b"\r\n\r\n") + 4)
            whole = block[:cut] if cut >= 4 else b""
            self._rest = block[len(whole) :]
            return whole
        out: list[bytes] = []
        start = 0
        for boundary in _BOUNDARY.finditer(block):
            out.append(self._event(block[start : boundary.end()]))
            start = boundary.end()
        self._rest = block[start:]
        return b"".join(out)

    def finish(self) -> bytes:
        """The event that is still held back when the stream is over; half an event is dropped."""
        return self._release()

    def _event(self, event: bytes) -> bytes:
        if b"[DONE]" in event and event.strip() == b"data: [DONE]":
            self.complete = True
            return self._release(last=True) + event
        if _ERROR.search(event) and "error" in (_payload(event) or {}):
            self.failed = True
            return self._release() + event
        if _USAGE.search(event) and _NO_CHOICES.search(event):
            return self._usage_event(event)
        if _FINISH.search(event):
            released = self._release()
            self._held = event
            return released
        return self._release() + event

    def _usage_event(self, event: bytes) -> bytes:
        chunk = _payload(event)
        if chunk is None:
            return self._release() + event
        self._usage = read_usage(chunk)
        if not self._wants_usage:
            return self._release(last=True)
        self._told = True
        return self._release() + _encode({**chunk, "tops": self._tops(self._usage)})

    def _release(self, last: bool = False) -> bytes:
        """The held finish event, with `tops` where it is the last chunk."""
        event, self._held = self._held, None
        if event is None:
            return b""
        chunk = _payload(event) if last and not self._told else None
        if chunk is None:
            return event
        self._told = True
        return _encode({**chunk, "tops": self._tops(self._usage)})


def _payload(event: bytes) -> dict[str, Any] | None:
    for line in event.splitlines():
        if line.startswith(b"data:"):
            try:
                payload = orjson.loads(line[5:])
            except orjson.JSONDecodeError:
                return None
            return cast("dict[str, Any]", payload) if isinstance(payload, dict) else None
    return None


def _encode(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
