"""Counts the choices of a whole answer that have neither text nor a tool's call."""

from collections.abc import Mapping
from typing import Any, cast

from server.engines import chat_chunk

_THOUGHTS = ("reasoning", "thinking", "redacted_thinking")


def empty_answers(answer: Mapping[str, Any]) -> int:
    """The number of choices without an answer; Responses and Messages have one choice."""
    choices = chat_chunk.choices(answer)
    if choices:
        messages = (chat_chunk.part(choice, "message") for choice in choices)
        return sum(not chat_chunk.has_answer(message) for message in messages)
    for name in ("output", "content"):
        entries = answer.get(name)
        if isinstance(entries, list):
            return int(not any(_is_answer(entry) for entry in cast("list[Any]", entries)))
    return 0


def _is_answer(entry: object) -> bool:
    """Whether an output item or a content block is part of an answer."""
    if not isinstance(entry, dict):
        return False
    fields = cast("dict[str, Any]", entry)
    kind = fields.get("type")
    if kind == "text":
        return bool(str(fields.get("text") or "").strip())
    if kind == "message":
        return chat_chunk.has_answer(fields) or "refusal" in str(fields.get("content"))
    return kind not in _THOUGHTS
