"""Rules across the turns of a conversation: pure functions without memory.

The gateway remembers the effort of the turns before; `carry` applies it to the next turn.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from router.messages import Conversation, Turn, read_messages

FOLLOW_UP_CHARACTERS = 80
"""The most characters of a follow-up, a user message that depends on the earlier ones."""
FOLLOW_UP_WORDS = 12
"""The most words of a follow-up."""
_FOLLOW_UP_HAN = 16
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Carried:
    """The effort after the conversation's rules; `pinned` where an earlier turn decided it."""

    effort: str
    pinned: bool
    reason: str


def opening_key(messages: object) -> str:
    """The 128-bit hash of the turns up to the first user message; equal openings have one key."""
    parts: list[bytes] = []
    for turn in read_messages(messages).turns:
        for field in (turn.role, turn.text):
            data = field.encode(errors="surrogatepass")
            parts += (len(data).to_bytes(8, "big"), data)
        if turn.role == "user" and not turn.tool_result:
            break
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def in_tool_loop(messages: object) -> bool:
    """Whether the last message is a tool's result, so that the model continues its plan."""
    turns = read_messages(messages).turns
    return bool(turns) and turns[-1].tool_result


def loop_turn(messages: object) -> int:
    """The number of the next turn of the model since the user spoke, from 1 on.

    Results of tools are no speech of the user's; calls that were made together are one turn.
    """
    turns = read_messages(messages).turns
    number, follows_answer = 1, False
    for turn in reversed(turns):
        if turn.role == "user" and not turn.tool_result:
            break
        is_answer = turn.role == "assistant"
        number += is_answer and not follows_answer
        follows_answer = is_answer
    return number


def carry(messages: object, previous: str | None, decided: str, ladder: Sequence[str]) -> Carried:
    """The effort of a turn, from the `previous` turn's effort and the one `decided` for this turn.

    A tool loop keeps the previous effort; otherwise effort only rises. `ladder` is cheapest first;
    a previous effort that is not on it has no influence.
    """
    if previous is None or previous not in ladder:
        return Carried(decided, False, "no earlier effort in this conversation")
    if in_tool_loop(messages):
        return Carried(previous, True, f"a tool loop keeps its effort, {previous}")
    if decided not in ladder or ladder.index(previous) > ladder.index(decided):
        return Carried(
            previous, True, f"effort only rises within a conversation, which had {previous} before"
        )
    return Carried(decided, False, "at least the conversation's effort")


def is_follow_up(text: str) -> bool:
    """Whether a later message is too short to be routed by itself ("yes", "go on")."""
    if len(text) > FOLLOW_UP_CHARACTERS:
        return False
    return len(text.split()) <= FOLLOW_UP_WORDS and len(_HAN.findall(text)) <= _FOLLOW_UP_HAN


def routed_text(conversation: Conversation) -> str:
    """The text that is routed: the last user message, and the earlier ones it depends on.

    Follow-ups reach back to the last user message that is none. Where all user messages are
    follow-ups, the assistant's turns count too: a "yes" may accept the assistant's plan.
    """
    spoken = [turn for turn in conversation.turns if _has_speech(turn)]
    user_texts = [turn.text for turn in spoken if turn.role == "user"]
    routed: list[str] = []
    for text in reversed(user_texts):
        routed.append(text)
        if not is_follow_up(text):
            break
    else:
        if len(user_texts) > 1:
            return "\n".join(turn.text for turn in spoken)
    return "\n".join(reversed(routed))


def _has_speech(turn: Turn) -> bool:
    return turn.role in ("user", "assistant") and not turn.tool_result and bool(turn.text.strip())
