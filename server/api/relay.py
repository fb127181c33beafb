"""Relays an engine's event stream as it comes; only events that may matter are parsed.

Bytes in, bytes out, without a clock or a connection. The APIs' relays are in modules of their own.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from server.api.added_usage import add_in_events
from server.api.reasoning_copy import COPY, copy_in_events, is_copied
from server.engines.usage import Usage
from server.errors import EngineFailed, GatewayError
from server.http.sse import EventBuffer, is_readable, parse_data, read_event, readable_lines, split

_PLAIN = re.compile(rb"(?:(?:event: ?(?!error)[\w.]++\n)?data: ?\{.*+\n\n)+")
"""Events of one line of data each, and none of them [DONE] or an error by name."""

_STRING = re.compile(
    rb'"(?:content|reasoning|reasoning_content|text|thinking|delta)":\s*"([^"\\]*)"'
)
_THOUGHT = re.compile(rb'"(?:reasoning|reasoning_content|thinking)":\s*"$')
_ANSWER = re.compile(rb'"(?:content|text|delta)":\s*"')
_ANSWERS = re.compile(
    rb'"(?:content":\s*"[^"]|tool_calls":\s*\[\s*\{)|"response\.(?:output_text|function_call_arguments)'
    rb'\.delta"|"(?:text|input_json)_delta"'
)
_TEXT = re.compile(rb'[^"\r\n]*')
_MAX_SHAPES = 8
"""Shapes that are learned per stream: a stream whose events differ in more than a text has none."""

Tops = Callable[[Usage | None], dict[str, Any]]
"""Makes the `tops` object, once the usage is known or will not be reported."""


def answers(events: bytes) -> bool:
    """Whether events of any of the APIs have text of the answer, or a tool's call."""
    return _ANSWERS.search(events) is not None


class Relay(ABC):
    """One stream; a subclass per API knows what its events say.

    `answered` is set once the model has finished; `error` is the engine's, as soon as it has sent
    one, or the stream's, once it has ended too early; `passes_thoughts`: whether what `pass_on`
    passes has no text of the answer.

    Args:
        tops: see Tops.
        error_event: the API's form of an error within a stream.
    """

    ends: ClassVar[re.Pattern[bytes]]
    """What the data of an event that matters contains; other text may contain it too.

    Alternatives that share their first byte, without groups within, are found several times as
    fast as others.
    """

    last_event: ClassVar[bytes] = b""
    """What is added to a stream that is complete without it."""

    copies_reasoning = False
    """Whether text under `reasoning` is written under `reasoning_content` too."""

    discarded: Usage | None = None
    """Tokens of an earlier attempt, which the usage that the client gets counts too."""

    def __init__(self, tops: Tops, error_event: Callable[[GatewayError], bytes]) -> None:
        self.answered = self.passes_thoughts = False
        self.error: GatewayError | None = None
        self._tops = tops
        self._error_event = error_event
        self._buffer = EventBuffer()
        self._reads_all = False
        self._is_over = False
        self._is_error_sent = False
        self._shape: tuple[bytes | tuple[()], bytes] = ((), b"")
        self._head, self._tail = self._shape
        self._shapes_left = _MAX_SHAPES
        self._copy = b""

    @property
    def is_ending(self) -> bool:
        """Whether the stream has nothing to wait for but its last events."""
        return self._is_over or self.answered or self.error is not None

    @property
    def settled(self) -> bool:
        """Whether all that matters has come: a connection that ends now takes nothing away."""
        return self.is_ending

    def pass_on(self, chunk: bytes) -> bytes | None:
        """The bytes to send for a chunk that differs from an earlier event in its text only.

        Most chunks do. Where the rest is equal and the text has no quotation mark, nothing else can
        have changed. None for any other chunk.
        """
        head, tail = self._head, self._tail
        if chunk.startswith(head) and chunk.endswith(tail):  # an empty tuple matches nothing
            text = _TEXT.fullmatch(chunk, len(head), len(chunk) - len(tail))
            if text is not None:
                if self._copy:
                    return b"".join((chunk[: text.end()], self._copy, text[0], tail))
                return chunk
        return None

    def feed(self, chunk: bytes) -> bytes:
        """The bytes to send for any chunk that arrived; may be empty.

        Raises:
            EngineFailed: an event is too long.
        """
        events = self._buffer.feed(chunk)
        if not self._reads_all and _PLAIN.fullmatch(events) and not self.ends.search(events):
            if events is chunk and self._shapes_left:
                self._learn(chunk)
        else:
            events = b"".join([self._read(event) for event in split(events)])
        is_idle = self._buffer.is_empty and not self._reads_all and not self._is_over
        self._head, self._tail = self._shape if is_idle else ((), b"")
        if self.discarded is not None:
            events = add_in_events(events, self.discarded)
        return copy_in_events(events) if self.copies_reasoning else events

    def finish(self, failure: GatewayError | None = None) -> bytes:
        """The last bytes of a stream that ended, by a failure or without; sets `error`."""
        rest = self._buffer.take_incomplete()
        readable = rest if rest and is_readable(rest) else readable_lines(rest)
        out = b"".join([self._read(event) for event in split(readable)])
        if not self._is_over:
            self._is_over = True
            if self.error is None and not self.answered:
                self.error = failure or EngineFailed(
                    "the engine's stream ended before it was complete"
                )
            out += self._close(b"" if self.error else self.last_event)
        return out if self.discarded is None else add_in_events(out, self.discarded)

    def _learn(self, event: bytes) -> None:
        text = _STRING.search(event)
        if text and event.find(b"\n\n") == len(event) - 2:
            self._shapes_left -= 1
            head, tail = self._shape = event[: text.start(1)], event[text.end(1) :]
            self.passes_thoughts = bool(_THOUGHT.search(head)) and not _ANSWER.search(head + tail)
            self._copy = COPY if self.copies_reasoning and is_copied(head, tail) else b""

    def _read(self, event: bytes) -> bytes:
        """The bytes to send for an event."""
        name, data = read_event(event)
        if self._is_over:
            return b""
        if data is None:
            return self._comment(event)
        if data.find(b"\n") >= 0 and name != b"error" and parse_data(data) is None:
            lines = [line.strip() for line in data.split(b"\n")]
            if all(line.startswith((b"{", b"[DONE]")) for line in lines):  # blank lines are missing
                return b"".join([self._read(b"data: " + line + b"\n\n") for line in lines])
        if data.strip() == b"[DONE]":
            return self._end(event)
        if not (self._reads_all or name == b"error" or self.ends.search(data)):
            return event
        return self._event(event, name.decode(errors="replace"), parse_data(data))

    def _comment(self, event: bytes) -> bytes:
        """The bytes to send for a comment, which keeps a connection alive."""
        return event

    @abstractmethod
    def _event(self, event: bytes, name: str, body: dict[str, Any] | None) -> bytes:
        """The bytes to send for an event that may matter; its body is None if it is no object."""

    def _end(self, event: bytes) -> bytes:
        """The bytes to send for [DONE]."""
        return event

    def _close(self, last_event: bytes) -> bytes:
        """The end of the stream; where there was an error that the client does not know, that."""
        if self.error is None or self._is_error_sent:
            return last_event
        self._is_error_sent = True
        return self._error_event(self.error)
