"""Relay an engine's event stream as it comes; only the last events are read.

A block of bytes passes through unchanged as long as nothing in it looks like an end. From the
first event that does, events are looked at one by one, so that `tops` can go into the last one that
the client gets. Pure: bytes in, bytes out.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

from server.engines.usage import Usage, read_usage
from server.http.sse import BOUNDARY, complete_events, encode, is_done, payload


class Relay(ABC):
    """One stream; each API's subclass knows what its ends look like.

    `complete` is set once the stream has come to its proper end, `failed` once the engine told an
    error in it.

    Args:
        tops: makes the `tops` object once the usage is known (or will not come).
    """

    ends: ClassVar[re.Pattern[bytes]]
    """What an event that matters has in it, besides [DONE]; other text may have it too.

    Patterns that begin with a fixed byte are found four times as fast as alternatives.
    """

    def __init__(self, tops: Callable[[Usage | None], dict[str, Any]]) -> None:
        self._tops = tops
        self._rest = b""
        self.failed = False
        self.complete = False

    @property
    def _watchful(self) -> bool:
        """Whether every event is to be looked at, whatever is in it."""
        return False

    def feed(self, block: bytes) -> bytes:
        """What to send on for a block that arrived; may be empty."""
        block = self._rest + block
        # find, because `in` first takes bytes for a number, and makes an error of that: 1.5 us
        if not (self._watchful or block.find(b"[DONE]") >= 0 or self.ends.search(block)):
            if block.endswith(b"\n\n"):
                self._rest = b""
                return block
            whole = complete_events(block)
            self._rest = block[len(whole) :]
            return whole
        out: list[bytes] = []
        start = 0
        for boundary in BOUNDARY.finditer(block):
            out.append(self._event(block[start : boundary.end()]))
            start = boundary.end()
        self._rest = block[start:]
        return b"".join(out)

    def finish(self) -> bytes:
        """What is still held back when the stream is over; half an event is dropped."""
        return b""

    @abstractmethod
    def _event(self, event: bytes) -> bytes:
        """What to send on for a whole event."""


class ChatRelay(Relay):
    """A stream of Chat Completions; its finish event waits for the usage event that follows it.

    Args:
        wants_usage: the client asked for the usage chunk itself.
        tops: see Relay.
    """

    ends = re.compile(rb'"(?:finish_reason":\s*"|usage":\s*\{|error":\s*[{"])')
    _FINISH = re.compile(rb'"finish_reason":\s*"')
    _USAGE = re.compile(rb'"usage":\s*\{')
    _NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
    _ERROR = re.compile(rb'"error":\s*[{"]')

    def __init__(self, wants_usage: bool, tops: Callable[[Usage | None], dict[str, Any]]) -> None:
        super().__init__(tops)
        self._wants_usage = wants_usage
        self._held: bytes | None = None
        self._told = False
        self._usage: Usage | None = None

    @property
    def _watchful(self) -> bool:
        return self._held is not None

    def finish(self) -> bytes:
        """The finish event, where it is still held back."""
        return self._release()

    def _event(self, event: bytes) -> bytes:
        if is_done(event):
            self.complete = True
            rest = self._release(last=True)
            if not self._told:  # no chunk was the last one; it is accounted for all the same
                self._tops(self._usage)
            return rest + event
        if event.startswith(b":") and b"\ndata:" not in event:  # to keep the connection
            return event
        if self._ERROR.search(event) and (payload(event) or {}).get("error"):
            self.failed = True
            return self._release() + event
        if self._USAGE.search(event):
            chunk = payload(event) or {}
            self._usage = read_usage(chunk) or self._usage
            if self._NO_CHOICES.search(event):
                return self._usage_event(chunk, event)
        if self._FINISH.search(event):
            released = self._release()
            self._held = event
            return released
        return self._release() + event

    def _usage_event(self, chunk: dict[str, Any], event: bytes) -> bytes:
        if not chunk:
            return self._release() + event
        if not self._wants_usage:
            return self._release(last=True)
        self._told = True
        return self._release() + encode({**chunk, "tops": self._tops(self._usage)})

    def _release(self, last: bool = False) -> bytes:
        """The held finish event, with `tops` where it is the last chunk."""
        event, self._held = self._held, None
        if event is None:
            return b""
        chunk = payload(event) if last and not self._told else None
        if chunk is None:
            return event
        self._told = True
        return encode({**chunk, "tops": self._tops(self._usage)})


class ResponsesRelay(Relay):
    """A stream of the Responses API: `tops` goes into the response of its last event."""

    ends = re.compile(rb"response\.(?:completed|incomplete|failed)|\"type\":\s*\"error\"")
    _LAST = ("response.completed", "response.incomplete")

    def _event(self, event: bytes) -> bytes:
        body = payload(event) or {}
        kind = body.get("type")
        if kind in ("error", "response.failed"):
            self.failed = True
        if kind not in self._LAST or not isinstance(body.get("response"), dict):
            return event
        self.complete = True
        response = cast("dict[str, Any]", body["response"])
        told = {**response, "tops": self._tops(read_usage(response))}
        return encode({**body, "response": told}, str(kind))


class MessagesRelay(Relay):
    """A stream of the Messages API: `tops` goes into its `message_delta`, which has the usage.

    Prompt tokens are told in the first event, where the last does not repeat them.
    """

    ends = re.compile(rb"\"type\":\s*\"(?:message_|error)")

    def __init__(self, tops: Callable[[Usage | None], dict[str, Any]]) -> None:
        super().__init__(tops)
        self._usage: dict[str, Any] = {}

    def _event(self, event: bytes) -> bytes:
        body = payload(event) or {}
        kind = body.get("type")
        if kind == "message_start" and isinstance(body.get("message"), dict):
            self._note(body["message"].get("usage"))
        elif kind == "message_delta":
            self._note(body.get("usage"))
            told = self._tops(read_usage({"usage": self._usage}))
            return encode({**body, "tops": told}, "message_delta")
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            self.failed = True
        return event

    def _note(self, usage: object) -> None:
        if isinstance(usage, dict):
            counts = cast("dict[str, Any]", usage)
            self._usage |= {name: count for name, count in counts.items() if count is not None}
