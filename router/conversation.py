"""Rules that hold across the turns of a conversation: pure functions, no memory of their own.

The gateway keeps the last effort per `conversation_key`; `carry` says what to do with it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from router.messages import Conversation, Turn, read_messages

FOLLOW_UP_CHARACTERS = 80
"""A later user message no longer than this and of at most so many words leans on the earlier."""
FOLLOW_UP_WORDS = 12
_FOLLOW_UP_HAN = 16
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Carried:
    """The effort after the conversation's rules; `pinned` when an earlier turn decided it."""

    effort: str
    pinned: bool
    reason: str


def conversation_key(messages: object) -> str:
    """A stable name of the conversation: a hash of all up to the first user message, inclusive."""
    parts: list[bytes] = []
    for turn in read_messages(messages).turns:
        for field in (turn.role, turn.text):
            data = field.encode(errors="surrogatepass")
            parts += (len(data).to_bytes(8, "big"), data)
        if turn.role == "user" and not turn.tool_result:
            break
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def in_tool_loop(messages: object) -> bool:
    """Whether the last message is a tool's result, so that the model goes on with its plan."""
    turns = read_messages(messages).turns
    return bool(turns) and turns[-1].tool_result


def carry(messages: object, previous: str | None, decided: str, ladder: Sequence[str]) -> Carried:
    """What a turn gets, from the conversation's `previous` effort and the one `decided` now.

    Along a tool loop the previous effort stays; otherwise effort only rises. `ladder` is cheapest
    first; an effort missing from it counts as unknown and does not bind.
    """
    if previous is None or previous not in ladder:
        return Carried(decided, False, "no earlier effort in this conversation")
    if in_tool_loop(messages):
        return Carried(previous, True, "a tool loop keeps its effort")
    if decided not in ladder or ladder.index(previous) > ladder.index(decided):
        return Carried(previous, True, "effort only rises within a conversation")
    return Carried(decided, False, "at least the conversation's effort")


def is_follow_up(text: str) -> bool:
    """Whether a later message is too short to be judged on its own ("yes", "go on")."""
    if len(text) > FOLLOW_UP_CHARACTERS:
        return False
    return len(text.split()) <= FOLLOW_UP_WORDS and len(_HAN.findall(text)) <= _FOLLOW_UP_HAN


def judged_text(conversation: Conversation) -> str:
    """The text whose difficulty counts: the last user message, and what it leans on.

    Short follow-ups reach back to the last user message of substance. Where no user message has
    substance, the whole exchange counts: the plan that a "yes" accepts was the assistant's.
    """
    spoken = [turn for turn in conversation.turns if _speaks(turn)]
    asked = [turn.text for turn in spoken if turn.role == "user"]
    leaning: list[str] = []
    for text in reversed(asked):
        leaning.append(text)
        if not is_follow_up(text):
            break
    else:
        if len(asked) > 1:
            return "\n".join(turn.text for turn in spoken)
    return "\n".join(reversed(leaning))


def _speaks(turn: Turn) -> bool:
    return turn.role in ("user", "assistant") and not turn.tool_result and bool(turn.text.strip())
