"""Reads the first choice of a chat completion, or of a chunk of one, whatever the engine sends."""

from collections.abc import Mapping
from typing import Any, cast

from server.http.json_codec import as_object

_REASONING_FIELDS = ("reasoning", "reasoning_content")


def choices(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices that are objects."""
    value = body.get("choices")
    if not isinstance(value, list):
        return []
    entries = cast("list[Any]", value)
    return [cast("dict[str, Any]", choice) for choice in entries if isinstance(choice, dict)]


def first_choice(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The choice with index 0; an absent index counts as 0."""
    return next((choice for choice in choices(body) if not choice.get("index")), None)


def part(choice: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The `delta` or `message` of a choice; empty where it is no object."""
    return as_object(choice.get(name))


def reasoning(message: Mapping[str, Any]) -> tuple[str, str]:
    """The reasoning of a message or delta, and the field that has it; empty where there is none."""
    for name in _REASONING_FIELDS:
        text = message.get(name)
        if text and isinstance(text, str):
            return text, name
    return "", _REASONING_FIELDS[0]


def text(message: Mapping[str, Any]) -> str:
    """The content of a message or delta as a string; empty where there is none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [as_object(entry).get("text") for entry in cast("list[Any]", content)]
    return "".join(piece for piece in texts if isinstance(piece, str))


def has_answer(message: Mapping[str, Any]) -> bool:
    """Whether a message or delta has text, a refusal, sound or a tool call."""
    fields = ("tool_calls", "function_call", "refusal", "audio")
    return bool(text(message).strip() or any(message.get(name) for name in fields))
