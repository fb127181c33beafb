"""Writes an engine's `reasoning` under `reasoning_content` too, the name that many clients read.

vLLM and the embedded engine send `reasoning`; LangChain.js, ChatDeepSeek and older clients know
`reasoning_content` only. Text that has that name already is left alone.
"""

import re
from typing import Any, cast

from server.http.json_codec import as_object

COPY = b'","reasoning_content":"'
"""What stands between a text and its copy."""

_TEXT = re.compile(rb'"reasoning"\s*+:\s*+("(?:[^"\\]|\\.)*")')
_OPEN_TEXT = re.compile(rb'"reasoning"\s*+:\s*+"$')


def copy_in_events(events: bytes) -> bytes:
    """Events with the copy; the same object where they have nothing to copy."""
    if b'"reasoning"' not in events or b'"reasoning_content"' in events:
        return events
    return _TEXT.sub(rb'\g<0>,"reasoning_content":\1', events)


def is_copied(head: bytes, tail: bytes) -> bool:
    """Whether the text between the two parts of an event is one that is copied."""
    return _OPEN_TEXT.search(head) is not None and b'"reasoning_content"' not in head + tail


def copy_in_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer whose messages have the copy."""
    choices: object = answer.get("choices")
    if not isinstance(choices, list):
        return answer
    return {**answer, "choices": [_copy_in_choice(item) for item in cast("list[Any]", choices)]}


def _copy_in_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    fields = cast("dict[str, Any]", choice)
    text = as_object(fields.get("message"))
    if not isinstance(text.get("reasoning"), str) or text.get("reasoning_content"):
        return fields
    return {**fields, "message": {**text, "reasoning_content": text["reasoning"]}}
