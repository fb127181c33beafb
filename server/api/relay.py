"""Relays an engine's event stream as it comes; only its last events are parsed.

A chunk of bytes passes unchanged as long as nothing in it looks like the end of the stream. From
the first event that does, events are parsed one by one, so that `tops` can be added to the last one
that the client gets. Pure: bytes in, bytes out.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

from router.effort import Effort
from server.engines.usage import Usage, read_usage
from server.http.sse import BOUNDARY, complete_events, encode, is_done, payload


class Relay(ABC):
    """One stream; a subclass per API knows what the end of its streams looks like.

    `complete` is set once the stream has ended as the API has it, `failed` once the engine has sent
    an error within it.

    Args:
        tops: makes the `tops` object once the usage is known, or will not be reported.
    """

    ends: ClassVar[re.Pattern[bytes]]
    """What an event that matters contains, besides [DONE]; other text may contain it too.

    Patterns that begin with a fixed byte are found four times as fast as alternatives.
    """

    def __init__(self, tops: Callable[[Usage | None], dict[str, Any]]) -> None:
        self._tops = tops
        self._partial = b""
        self.failed = False
        self.complete = False

    @property
    def _parses_all(self) -> bool:
        """Whether every event is parsed, whatever it contains."""
        return False

    def feed(self, chunk: bytes) -> bytes:
        """The bytes to send for a chunk that arrived; may be empty."""
        chunk = self._partial + chunk
        # find, because `in` first tries bytes as an integer, and handles the exception: 1.5 us
        if not (self._parses_all or chunk.find(b"[DONE]") >= 0 or self.ends.search(chunk)):
            if chunk.endswith(b"\n\n"):
                self._partial = b""
                return chunk
            events = complete_events(chunk)
            self._partial = chunk[len(events) :]
            return events
        out: list[bytes] = []
        start = 0
        for boundary in BOUNDARY.finditer(chunk):
            out.append(self._event(chunk[start : boundary.end()]))
            start = boundary.end()
        self._partial = chunk[start:]
        return b"".join(out)

    def finish(self) -> bytes:
        """The event still held back when the stream is over; a partial event is dropped."""
        return b""

    @abstractmethod
    def _event(self, event: bytes) -> bytes:
        """The bytes to send for an event."""


class ChatRelay(Relay):
    """A stream of Chat Completions; its finish event waits for the usage event that follows it.

    Args:
        wants_usage: whether the client requested the usage chunk itself.
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
        self._finish_event: bytes | None = None
        self._tops_sent = False
        self._usage: Usage | None = None

    @property
    def _parses_all(self) -> bool:
        return self._finish_event is not None

    def finish(self) -> bytes:
        """The finish event, where it is still held back."""
        return self._release()

    def _event(self, event: bytes) -> bytes:
        if is_done(event):
            self.complete = True
            released = self._release(with_tops=True)
            if not self._tops_sent:  # no chunk was the last one; the usage is recorded all the same
                self._tops(self._usage)
            return released + event
        if event.startswith(b":") and b"\ndata:" not in event:  # a comment keeps the connection
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
            self._finish_event = event
            return released
        return self._release() + event

    def _usage_event(self, chunk: dict[str, Any], event: bytes) -> bytes:
        if not chunk:
            return self._release() + event
        if not self._wants_usage:
            return self._release(with_tops=True)
        self._tops_sent = True
        return self._release() + encode({**chunk, "tops": self._tops(self._usage)})

    def _release(self, with_tops: bool = False) -> bytes:
        """The finish event that was held back, if any; with `tops` where it is the last chunk."""
        event, self._finish_event = self._finish_event, None
        if event is None:
            return b""
        chunk = payload(event) if with_tops and not self._tops_sent else None
        if chunk is None:
            return event
        self._tops_sent = True
        return encode({**chunk, "tops": self._tops(self._usage)})


def with_effort(response: dict[str, Any], effort: Effort) -> dict[str, Any]:
    """A response object of the Responses API that names the effort."""
    reasoning: object = response.get("reasoning")
    fields = cast("dict[str, Any]", reasoning) if isinstance(reasoning, dict) else {}
    return {**response, "reasoning": {**fields, "effort": effort}}


class ResponsesRelay(Relay):
    """A stream of the Responses API: `tops` goes into the response of its last event.

    Args:
        tops: see Relay.
        effort: goes into each event that has the response.
    """

    ends = re.compile(
        rb"response\.(?:created|queued|in_progress|completed|incomplete|failed)"
        rb"|\"type\":\s*\"error\""
    )
    _LAST = ("response.completed", "response.incomplete")

    def __init__(self, tops: Callable[[Usage | None], dict[str, Any]], effort: Effort) -> None:
        super().__init__(tops)
        self._effort: Effort = effort

    def _event(self, event: bytes) -> bytes:
        body = payload(event) or {}
        kind = body.get("type")
        if kind in ("error", "response.failed"):
            self.failed = True
        if not isinstance(body.get("response"), dict):
            return event
        response = with_effort(cast("dict[str, Any]", body["response"]), self._effort)
        if kind in self._LAST:
            self.complete = True
            response["tops"] = self._tops(read_usage(response))
        return encode({**body, "response": response}, str(kind))


class MessagesRelay(Relay):
    """A stream of the Messages API: `tops` goes into its `message_delta`, which has the usage.

    The prompt tokens are those of its `message_start`, unless `message_delta` repeats them.
    """

    ends = re.compile(rb"\"type\":\s*\"(?:message_|error)")

    def __init__(self, tops: Callable[[Usage | None], dict[str, Any]]) -> None:
        super().__init__(tops)
        self._usage: dict[str, Any] = {}

    def _event(self, event: bytes) -> bytes:
        body = payload(event) or {}
        kind = body.get("type")
        if kind == "message_start" and isinstance(body.get("message"), dict):
            self._update_usage(body["message"].get("usage"))
        elif kind == "message_delta":
            self._update_usage(body.get("usage"))
            tops = self._tops(read_usage({"usage": self._usage}))
            return encode({**body, "tops": tops}, "message_delta")
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            self.failed = True
        return event

    def _update_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            counts = cast("dict[str, Any]", usage)
            self._usage |= {name: count for name, count in counts.items() if count is not None}
