"""The beginning of a streamed answer, read from its events until it identifies the answer."""

import json
import re
from typing import Any, NamedTuple

from server.api.answer_identity import EXCERPT, THINK, THINK_END


class StreamForm(NamedTuple):
    """Where the events of an API's streams have text, tool calls and the response's id.

    A pattern is searched only in events that contain its marker; its group is a JSON string.
    """

    text_marker: bytes
    text: re.Pattern[bytes]
    call_marker: bytes
    call: re.Pattern[bytes]
    id_marker: bytes = b""
    id: re.Pattern[bytes] | None = None


_STRING = rb'"(?!")([^"\\]*(?:\\.[^"\\]*)*)"'
"""A JSON string that is not empty."""
CHAT_FORM = StreamForm(
    b'"content"',
    re.compile(rb'"content"\s*+:\s*+' + _STRING),
    b'"tool_calls"',
    re.compile(rb'"tool_calls"\s*+:\s*+\[\s*\{[^\]]*?"id"\s*+:\s*+' + _STRING),
    b'"id"',
    re.compile(rb'"id"\s*+:\s*+' + _STRING),
)
MESSAGES_FORM = StreamForm(
    b"text_delta",
    re.compile(rb'"text"\s*+:\s*+' + _STRING),
    b'"tool_use"',
    re.compile(rb'"content_block".*?"id"\s*+:\s*+' + _STRING, re.DOTALL),
    b"message_start",
    re.compile(rb'"id"\s*+:\s*+' + _STRING),
)
RESPONSES_FORM = StreamForm(
    b"response.output_text.delta",
    re.compile(rb'response\.output_text\.delta.*?"delta"\s*+:\s*+' + _STRING, re.DOTALL),
    b'"call_id"',
    re.compile(rb'"call_id"\s*+:\s*+' + _STRING),
    b"response.created",
    re.compile(rb'"id"\s*+:\s*+' + _STRING),
)


class StreamedAnswer:
    """The answer; `settled` is set once later events cannot change what identifies it."""

    __slots__ = ("_call", "_form", "_text", "response_id", "settled")

    def __init__(self, form: StreamForm) -> None:
        self._form = form
        self._text = ""
        self._call = ""
        self.response_id = ""
        self.settled = False

    def feed(self, events: bytes) -> None:
        """Read the next events of the stream, each of them complete."""
        form = self._form
        if form.id is not None and not self.response_id and events.find(form.id_marker) >= 0:
            self.response_id = _first_match(form.id, events)
        if events.find(form.text_marker) >= 0:
            for raw in form.text.findall(events):
                self._text += _decoded(raw)
            if len(self._text) >= EXCERPT:
                self._settle()
        if not self._call and events.find(form.call_marker) >= 0:
            self._call = _first_match(form.call, events)

    def messages(self) -> list[dict[str, Any]]:
        """The answer as chat messages, as far as it was read."""
        calls = [{"id": self._call}] if self._call else []
        halves = self._text.encode("utf-16", "surrogatepass")  # of pairs that two events share
        text = halves.decode("utf-16", "replace")
        return [{"role": "assistant", "content": text, "tool_calls": calls}]

    def _settle(self) -> None:
        text = self._text.lstrip()
        if text.startswith(THINK):
            if THINK_END not in text:
                self._text = THINK + text[len(THINK) :][-len(THINK_END) :]
                return
            text = text.partition(THINK_END)[2].lstrip()
        self.settled = len(text) >= EXCERPT


def _first_match(pattern: re.Pattern[bytes], events: bytes) -> str:
    match = pattern.search(events)
    return _decoded(match[1]) if match else ""


def _decoded(raw: bytes) -> str:
    """A JSON string without its quotes."""
    if raw.find(b"\\") < 0:
        return raw.decode(errors="replace")
    try:
        return json.loads(b'"' + raw + b'"', strict=False)
    except ValueError:
        return ""
