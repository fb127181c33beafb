"""Relays streams of completions: a choice ends with its finish_reason, the stream with [DONE]."""

import re
from collections.abc import Callable
from typing import Any

from server.api.relay import Relay, Tops
from server.engines.chat_chunk import choices
from server.engines.reported_error import chat_error, reported_error
from server.engines.usage import Usage, read_usage
from server.errors import EngineFailed, GatewayError
from server.http.sse import DONE, data_or_text, encode


class CompletionRelay(Relay):
    """A stream of Completions, which passes as it is.

    Args:
        expected_choices: how many answers were requested.
        tops: see Tops.
        error_event: see Relay.
    """

    ends = re.compile(
        rb'"(?:finish_reason"\s*+:\s*+(?:"[^"]|[^n"])|usage"\s*+:\s*+[^n]|error"\s*+:\s*+[^n])'
    )
    last_event = DONE

    def __init__(
        self, expected_choices: int, tops: Tops, error_event: Callable[[GatewayError], bytes]
    ) -> None:
        super().__init__(tops, error_event)
        self._expected_choices = expected_choices
        self._finished: set[object] = set()

    def _event(self, event: bytes, name: str, body: dict[str, Any] | None) -> bytes:
        self._note_error(name, body, event)
        self._note_finish(body or {})
        return event

    def _note_error(self, name: str, body: dict[str, Any] | None, event: bytes) -> None:
        error = chat_error(body or {})
        if error is None and name == "error":
            error = reported_error(data_or_text(event, body))
        if error is not None:
            self.error = self.error or error
            self._is_error_sent = self._is_error_sent or bool(body and body.get("error"))

    def _note_finish(self, body: dict[str, Any]) -> bool:
        """Note which choices a chunk finishes; whether it finishes any."""
        finished = {
            str(choice.get("index", 0)) for choice in choices(body) if choice.get("finish_reason")
        }
        self._finished |= finished
        self.answered = len(self._finished) >= self._expected_choices
        return bool(finished)

    def _end(self, event: bytes) -> bytes:
        self._is_over = True
        if self.error is None and not self._finished:
            self.error = EngineFailed("the engine's stream ended without a finish_reason")
        return self._close(event)


class ChatRelay(CompletionRelay):
    """A stream of Chat Completions, with `tops` in its last chunk.

    From the finish on, the newest chunk is held back until the next event shows whether it is the
    last one. Usage that the client did not request is removed.

    Args:
        expected_choices: how many answers were requested.
        wants_usage: whether the client requested usage.
        tops: see Tops.
        error_event: see Relay.
    """

    def __init__(
        self,
        expected_choices: int,
        wants_usage: bool,
        tops: Tops,
        error_event: Callable[[GatewayError], bytes],
    ) -> None:
        super().__init__(expected_choices, tops, error_event)
        self._wants_usage = wants_usage
        self._held: tuple[bytes, str, dict[str, Any]] | None = None
        self._is_tops_sent = False
        self._usage: Usage | None = None

    @property
    def settled(self) -> bool:
        """Whether all that matters has come, the usage too."""
        return self.is_ending and (self._is_over or bool(self.error) or self._usage is not None)

    def _event(self, event: bytes, name: str, body: dict[str, Any] | None) -> bytes:
        self._note_error(name, body, event)
        if body is None:
            return self._release() + event
        finishes = self._note_finish(body)
        if body.get("usage") is not None:
            self._usage = read_usage(body) or self._usage
            if not body.get("choices") and not body.get("error"):
                return self._usage_event(event, name, body)
            if not self._wants_usage:
                body = {key: value for key, value in body.items() if key != "usage"}
                event = encode(body, name or None)
        else:
            self._usage = read_usage(body) or self._usage
        released = self._release()
        if not (finishes or self.answered) or body.get("error"):
            return released + event
        self._held, self._reads_all = (event, name, body), True
        return released

    def _usage_event(self, event: bytes, name: str, body: dict[str, Any]) -> bytes:
        if not (self.answered or self._held):  # not at the end
            return event if self._wants_usage else b""
        if not self._wants_usage:
            return self._release(with_tops=True)
        return self._release() + self._with_tops(name, body)

    def _comment(self, event: bytes) -> bytes:
        return event if self.answered else self._release() + event

    def _close(self, last_event: bytes) -> bytes:
        released = self._release(with_tops=True)
        if not self._is_tops_sent:  # no chunk was the last one; the usage is recorded all the same
            self._tops(self._usage)
        return released + super()._close(last_event)

    def _release(self, with_tops: bool = False) -> bytes:
        """The chunk that was held back, if any; with `tops` where it is the last one."""
        held, self._held = self._held, None
        self._reads_all = self.answered
        if held is None:
            return b""
        event, name, body = held
        return self._with_tops(name, body) if with_tops and not self._is_tops_sent else event

    def _with_tops(self, name: str, body: dict[str, Any]) -> bytes:
        self._is_tops_sent = True
        return encode({**body, "tops": self._tops(self._usage)}, name or None)
