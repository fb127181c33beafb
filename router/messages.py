"""Chat messages as turns of plain text, from any JSON value that a client sends.

Nothing here raises: content that is not text is named in `Conversation.unreadable`, so that the
router can abstain. Knows nothing of features or efforts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

ANSWERING_ROLES = ("assistant", "tool", "function")
"""Roles of those that answer. Any role but these and the user's instructs, whatever its name."""
_TEXT_PARTS = frozenset(("text", "input_text", "output_text"))
_WRAPPERS = frozenset(("tool_result", "function_call_output"))
_SILENT_PARTS = frozenset(("tool_use", "thinking", "redacted_thinking", "reasoning", "refusal"))
_OTHER_PARTS = frozenset(
    ("image_url", "input_image", "image", "input_audio", "audio_url", "video_url")
) | {"file", "input_file", "document"}
_MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class Turn:
    """The role and all the text of one message; `tool_result`: it answers a tool call."""

    role: str
    text: str
    tool_result: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """All turns, oldest first; `unreadable` names the first content that is not text, if any."""

    turns: tuple[Turn, ...]
    unreadable: str | None = None

    @property
    def has_system(self) -> bool:
        """Whether there is a message that instructs: of system, developer, or an unknown role."""
        return any(turn.role != "user" and turn.role not in ANSWERING_ROLES for turn in self.turns)


def read_messages(messages: object) -> Conversation:
    """Read an OpenAI `messages` value; a plain string counts as one user message.

    A Conversation is returned unchanged.
    """
    if isinstance(messages, Conversation):
        return messages
    if isinstance(messages, str):
        return Conversation((Turn("user", messages),))
    if not isinstance(messages, (list, tuple)):
        return Conversation((), "messages is not a list")
    turns: list[Turn] = []
    faults: list[str] = []
    for message in cast("Sequence[object]", messages):
        if not isinstance(message, dict):
            faults.append("a message is not an object")
            continue
        fields = cast("Mapping[str, object]", message)
        role = fields.get("role")
        texts: list[str] = []
        results: list[str] = []
        _collect(fields.get("content"), texts, results, faults, 0)
        name = role if isinstance(role, str) else "unknown"
        result = name in ("tool", "function") or bool(results)
        turns.append(Turn(name, texts[0] if len(texts) == 1 else "\n".join(texts), result))
    return Conversation(tuple(turns), faults[0] if faults else None)


def _collect(
    content: object, texts: list[str], results: list[str], faults: list[str], depth: int
) -> None:
    """Append the texts of `content`, the types of its tool results, and its unreadable parts."""
    if content is None:
        return
    if isinstance(content, str):
        texts.append(content)
    elif depth >= _MAX_NESTING:
        faults.append("content is nested too deeply")
    elif isinstance(content, (list, tuple)):
        for part in cast("Sequence[object]", content):
            _collect(part, texts, results, faults, depth + 1)
    elif isinstance(content, dict):
        part = cast("Mapping[str, object]", content)
        named = part.get("type")
        kind = named if isinstance(named, str) else type(named).__name__
        if kind in _TEXT_PARTS:
            _collect(part.get("text"), texts, results, faults, depth + 1)
        elif kind in _WRAPPERS:
            results.append(kind)
            _collect(part.get("content", part.get("output")), texts, results, faults, depth + 1)
        elif kind not in _SILENT_PARTS:
            named_kind = kind if kind in _OTHER_PARTS else "unknown"  # logs repeat no client input
            faults.append(f"a part of type {named_kind!r} is not text")
    else:
        faults.append("content is neither text nor parts")
