"""Watches a stream until its answer begins: what of it goes on, and where the request is to end.

The events pass unchanged and unparsed. They are kept until the answer begins, and those that end
the stream are held back if it has not begun by then.
"""

from server.engines.continuing.api import ContinuedApi, Json, Kind
from server.engines.continuing.room import Room
from server.engines.continuing.transcript import Transcript
from server.http.sse import EventBuffer, is_done, payload, split

_MAX_EVENTS = 2**16
"""Events of reasoning that are kept at most; a longer one is not continued."""


class StreamWatch:
    """The stream of an initial request.

    `is_on` tells whether its chunks are still to be given to `pass_on`, `is_over` whether the
    request is to end, and `cut` is True where that is because the thinking has used up its budget.

    Args:
        api: the API that it speaks.
        room: the tokens that it may spend.
    """

    __slots__ = (
        *("_answered", "_api", "_buffer", "_is_passing", "_kept", "_limit", "_room"),
        *("cut", "held", "is_complete", "is_on", "is_over"),
    )

    def __init__(self, api: ContinuedApi, room: Room) -> None:
        self._api, self._room = api, room
        self.is_on = True
        self.is_over = self.is_complete = False
        self.cut: bool | None = None
        self.held: list[bytes] = []
        self._is_passing = False
        self._answered = False
        self._buffer = EventBuffer()
        self._kept = Transcript()
        self._limit = min(_MAX_EVENTS, _MAX_EVENTS if room.budget is None else room.budget)

    def pass_on(self, chunk: bytes) -> bytes:
        """The part of a chunk that goes on to the client now."""
        if self._buffer.is_between_events and self._kept.add_thought(chunk):
            return chunk if self._kept.count <= self._limit else self._within_budget(chunk)
        chunk = self._buffer.feed(chunk)
        if self._is_passing:
            self.is_on = not self._buffer.is_between_events
            return chunk
        is_notable = self._api.NOTABLE.search(chunk) is not None
        self._kept.add(chunk, is_thought=not (is_notable or self.held))
        if self.held:
            return self._hold(chunk)
        if is_notable:
            return self._inspect(chunk)
        return chunk if self._kept.count <= self._limit else self._within_budget(chunk)

    def kept_events(self) -> list[Json]:
        """The events so far; none where the answer has begun and they are not kept."""
        parsed = (payload(event) for event in split(self._kept.events()))
        return [event for event in parsed if event is not None]

    def end(self) -> list[bytes]:
        """The request's own end: what was held back, and an event that is not complete."""
        return [chunk for chunk in (*self.held, self._buffer.take_incomplete()) if chunk]

    def _within_budget(self, chunk: bytes) -> bytes:
        """The events of a chunk that the budget allows: one with reasoning is a token or more."""
        budget = self._room.budget
        if self._answered:
            return chunk
        if budget is None or self._kept.count >= _MAX_EVENTS:
            self._stop()
            return chunk
        excess = self._api.thinking_events(self.kept_events()) - budget
        if excess <= 0:
            self._limit = self._kept.count - excess
            return chunk
        self.cut = self.is_over = True
        allowed = split(chunk)
        while excess > 0:
            body = payload(allowed.pop())
            excess -= self._api.thinking_events([body] if body else [])
        within = b"".join(allowed)
        self._kept.replace_last(chunk, within)
        return within

    def _inspect(self, chunk: bytes) -> bytes:
        """The part of a chunk that comes before the end of a choice that lacks an answer."""
        room, position = self._room, 0
        is_limited = room.initial_limit is not None
        for event in split(chunk):
            body = payload(event)
            kind: Kind | None = None if body is None else self._api.kind(body, room.first_limit)
            if kind == "answer" and is_limited:  # which the limit may cut
                self._answered = True
            elif kind in ("error", "answer") or (kind == "last answer" and not is_limited):
                self._stop()
                return chunk
            elif kind is not None and not (kind == "end" and self._answered):
                *texts, end = self._api.split_end(event, body or {})
                self._hold(end + chunk[position + len(event) :])
                return chunk[:position] + b"".join(texts)
            position += len(event)
        return chunk

    def _hold(self, chunk: bytes) -> bytes:
        """Hold the end of the stream back; nothing goes on."""
        self.held.append(chunk)
        self.is_over = True
        self.is_complete = any(is_done(event) for event in split(chunk))
        return b""

    def _stop(self) -> None:
        """All that comes goes on; the watch ends with the event that has begun, if any."""
        self._is_passing = True
        self.is_on = not self._buffer.is_between_events
        self._kept = Transcript()
