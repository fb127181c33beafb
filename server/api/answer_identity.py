"""What identifies an answer, in the history of a request and as an engine gives it.

An answer is identified by the beginning of its text, so that a client that stopped a stream or
trimmed the end still shows the same answer, or by the id of its tool call where it has no text. An
identity that other answers may share, such as "Yes.", includes the turns that were answered.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from router.messages import Turn, read_messages
from server.api.session import looks_unique

MAX_ANSWERS = 16
"""The most answers of a history that are considered, latest first."""

EXCERPT = 128
"""Characters of an answer that identify it."""
_SELF_EVIDENT = 64
"""An excerpt of this many characters identifies an answer by itself."""
_ASKED_TURNS = 8
_ASKED_CHARACTERS = 256

_SYSTEM_ROLES = ("system", "developer")
THINK, THINK_END = "<think>", "</think>"


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
            return f"text {text}" if alone else f"text {text}\n{_question(earlier)}"
    for message in messages:
        if call := _call_id(message):
            return f"call {call}" if looks_unique(call) else f"call {call}\n{_question(earlier)}"
    return ""


def _question(earlier: Sequence[Turn]) -> str:
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
    if text.startswith(THINK):
        text = text.partition(THINK_END)[2].lstrip()
    return text[:EXCERPT].rstrip()


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
