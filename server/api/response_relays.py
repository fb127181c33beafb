"""Relays streams of the Responses and the Messages API, whose events say what they are."""

import re
from collections.abc import Callable
from typing import Any, cast

from router.effort import Effort
from router.finish_reason import finish_meaning
from server.api.relay import Relay, Tops
from server.engines.reported_error import reported_error
from server.engines.usage import Usage, read_usage
from server.errors import EngineFailed, GatewayError
from server.http.json_codec import as_object
from server.http.sse import data_or_text, encode


def with_effort(response: dict[str, Any], effort: Effort) -> dict[str, Any]:
    """A response object of the Responses API that names the effort."""
    return {**response, "reasoning": {**as_object(response.get("reasoning")), "effort": effort}}


class ResponsesRelay(Relay):
    """A stream of the Responses API: `tops` goes into the response of its last event.

    Args:
        tops: see Tops.
        error_event: see Relay.
        effort: goes into each event that has the response.
    """

    ends = re.compile(
        rb"\"(?:type\"\s*+:\s*+\"(?:error\"|response\.(?:created|queued|in_progress|completed"
        rb"|incomplete|failed))|error\"\s*+:\s*+[{\"])"
    )
    _LAST = ("response.completed", "response.incomplete")

    def __init__(
        self, tops: Tops, error_event: Callable[[GatewayError], bytes], effort: Effort
    ) -> None:
        super().__init__(tops, error_event)
        self._effort: Effort = effort

    def _event(self, event: bytes, name: str, body: dict[str, Any] | None) -> bytes:
        fields = body or {}
        kind = fields.get("type") or name
        response = fields.get("response")
        failed = cast("dict[str, Any]", response) if isinstance(response, dict) else fields
        is_named = kind in ("error", "response.failed")
        if is_named or fields.get("error") or finish_meaning(failed.get("status")) == "error":
            self.error = self.error or reported_error(
                failed.get("error") or failed or data_or_text(event, None)
            )
            self._is_error_sent = self._is_error_sent or (is_named and body is not None)
        if not isinstance(response, dict):
            return event
        answer = with_effort(cast("dict[str, Any]", response), self._effort)
        if kind in self._LAST:
            self.answered = True
            answer["tops"] = self._tops(read_usage(answer))
        return encode({**fields, "response": answer}, str(kind))


class MessagesRelay(Relay):
    """A stream of the Messages API: `tops` goes into its `message_delta`, which has the usage.

    The prompt tokens are those of its `message_start`, unless `message_delta` repeats them.
    """

    ends = re.compile(rb"\"(?:type\"\s*+:\s*+\"(?:message_|error)|error\"\s*+:\s*+[{\"])")
    last_event = encode({"type": "message_stop"}, "message_stop")

    def __init__(self, tops: Tops, error_event: Callable[[GatewayError], bytes]) -> None:
        super().__init__(tops, error_event)
        self._usage: dict[str, Any] = {}

    def _event(self, event: bytes, name: str, body: dict[str, Any] | None) -> bytes:
        fields = body or {}
        kind = fields.get("type") or name
        if kind == "message_start" and isinstance(fields.get("message"), dict):
            self._update_usage(fields["message"].get("usage"))
        elif kind == "message_delta":
            return self._message_delta(fields)
        elif kind == "message_stop":
            if fields.get("usage"):
                self._update_usage(fields["usage"])
                self._tops(self._read_usage())
            self._is_over = True
            if self.error is None and not self.answered:
                self.error = EngineFailed("the engine's stream ended without a stop_reason")
            return self._close(event)
        elif kind == "error" or fields.get("error"):
            self.error = self.error or reported_error(
                fields.get("error") or data_or_text(event, body)
            )
            self._is_error_sent = kind == "error" and bool(fields.get("error"))
        return event

    def _message_delta(self, body: dict[str, Any]) -> bytes:
        self._update_usage(body.get("usage"))
        delta: object = body.get("delta")
        reason = (
            cast("dict[str, Any]", delta).get("stop_reason") if isinstance(delta, dict) else None
        )
        self.answered = self.answered or bool(reason)
        if finish_meaning(reason) == "error":
            self.error = self.error or EngineFailed(
                f"the engine ended its answer with stop_reason '{reason}'"
            )
        return encode({**body, "tops": self._tops(self._read_usage())}, "message_delta")

    def _read_usage(self) -> Usage | None:
        return read_usage({"usage": self._usage})

    def _update_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            counts = cast("dict[str, Any]", usage)
            self._usage |= {name: count for name, count in counts.items() if count is not None}
