"""What identifies an answer: in the history of a request, and as an engine gives it.

An answer is identified by the beginning of its text, so that a client that stopped a stream or
trimmed the end still shows the same answer, or by the id of its tool call where it has no text. An
identity that other answers may share, such as "Yes.", includes the turns that were answered.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from router.messages import Turn, read_messages
from server.api.session import looks_unique

MAX_ANSWERS = 16
"""The most answers of a history that are considered, latest first."""

_EXCERPT = 128
"""Characters of an answer that identify it."""
_SELF_EVIDENT = 64
"""An excerpt of this many characters identifies an answer by itself."""
_ASKED_TURNS = 8
_ASKED_CHARACTERS = 256

_SYSTEM_ROLES = ("system", "developer")
_THINK, _THINK_END = "<think>", "</think>"


def answer_identities(messages: Sequence[Any], turns: Sequence[Turn]) -> Iterator[str]:
    """The identities of the answers in a request's history, latest first.

    Args:
        messages: the request's, as chat messages.
        turns: the same, read as text.
    """
    if len(messages) != len(turns):  # not all of them could be read
        return
    remaining, end = MAX_ANSWERS, len(turns)
    while end and remaining:
        end -= 1
        if turns[end].role != "assistant":
            continue
        start = end
        while start and turns[start - 1].role == "assistant":
            start -= 1
        identity = _identity(messages[start : end + 1], turns[start : end + 1], turns[:start])
        if identity:
            yield identity
            remaining -= 1
        end = start


def given_identities(turns: Sequence[Turn], answers: Sequence[Sequence[Any]]) -> list[str]:
    """The identities of new answers to a request.

    Args:
        turns: the request's.
        answers: each answer as chat messages.
    """
    identities = [_identity(messages, read_messages(messages).turns, turns) for messages in answers]
    return [identity for identity in identities if identity]


def response_identity(response_id: str) -> str:
    """The identity of an answer of the Responses API that a later request names by its id."""
    return f"response {response_id}"


def _identity(messages: Sequence[Any], turns: Sequence[Turn], earlier: Sequence[Turn]) -> str:
    """The identity of an answer after `earlier`; empty where it has no text and no tool call."""
    for turn in turns:
        if text := _excerpt(turn.text):
            alone = len(text) >= _SELF_EVIDENT
            return f"text {text}" if alone else f"text {text}\n{_asked(earlier)}"
    for message in messages:
        if call := _call_id(message):
            return f"call {call}" if looks_unique(call) else f"call {call}\n{_asked(earlier)}"
    return ""


def _asked(earlier: Sequence[Turn]) -> str:
    """The turns that an answer follows, back to the answer before it, as far as they identify it.

    System messages are left out: a clock in them must not make another conversation.
    """
    parts: list[str] = []
    for turn in reversed(earlier):
        if turn.role == "assistant" or len(parts) == _ASKED_TURNS:
            break
        if turn.role not in _SYSTEM_ROLES:
            text = turn.text.strip()
            parts.append(f"{len(text)} {text[:_ASKED_CHARACTERS]} {text[-_ASKED_CHARACTERS:]}")
    return "\n".join(parts)


def _excerpt(text: str) -> str:
    """The beginning of an answer without its thoughts and the space around it."""
    text = text.lstrip()
    if text.startswith(_THINK):
        text = text.partition(_THINK_END)[2].lstrip()
    return text[:_EXCERPT].rstrip()


def _call_id(message: Any) -> str:
    """The id of the message's first tool call, in any API's form; empty where it has none."""
    if not isinstance(message, dict):
        return ""
    fields = cast("Mapping[str, Any]", message)
    content: object = fields.get("content")
    for parts, kind in ((fields.get("tool_calls"), None), (content, "tool_use")):
        if not isinstance(parts, list):
            continue
        for part in cast("list[Any]", parts):
            if isinstance(part, dict):
                call = cast("Mapping[str, Any]", part)
                if (kind is None or call.get("type") == kind) and isinstance(call.get("id"), str):
                    return call["id"]
    return ""


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
    """The beginning of a streamed answer, read from its events until it identifies the answer.

    `settled` is set once later events cannot change that.
    """

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
            self.response_id = _first(form.id, events)
        if events.find(form.text_marker) >= 0:
            for raw in form.text.findall(events):
                self._text += _decoded(raw)
            if len(self._text) >= _EXCERPT:
                self._settle()
        if not self._call and events.find(form.call_marker) >= 0:
            self._call = _first(form.call, events)

    def messages(self) -> list[dict[str, Any]]:
        """The answer as chat messages, as far as it was read."""
        calls = [{"id": self._call}] if self._call else []
        halves = self._text.encode("utf-16", "surrogatepass")  # of pairs that two events share
        text = halves.decode("utf-16", "replace")
        return [{"role": "assistant", "content": text, "tool_calls": calls}]

    def _settle(self) -> None:
        text = self._text.lstrip()
        if text.startswith(_THINK):
            if _THINK_END not in text:
                self._text = _THINK + text[len(_THINK) :][-len(_THINK_END) :]
                return
            text = text.partition(_THINK_END)[2].lstrip()
        self.settled = len(text) >= _EXCERPT


def _first(pattern: re.Pattern[bytes], events: bytes) -> str:
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
