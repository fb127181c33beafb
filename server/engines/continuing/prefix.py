"""How a message begins that an engine goes on with: its reasoning block, closed for it.

For models whose reasoning block is `<think>...</think>`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from server.engines import chat_chunk

TRANSITION = "\nThat is all the time there is for thinking. The answer, from what is known so far:"


def closed_block(reasoning: str) -> str:
    """The reasoning block, ended by a transition sentence; the answer follows it."""
    return ended_block(f"{reasoning.strip()}{TRANSITION}")


def ended_block(reasoning: str) -> str:
    """The reasoning block of a model that ended it by itself."""
    return f"<think>\n{reasoning}\n</think>\n\n"


def mentions_open_block(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last tag of a reasoning block in the messages' own texts opens one.

    An engine that counts from the last such tag counts the rest of the prompt as thinking. Not
    where the assistant's message comes last: it may be a thought that is to be continued.
    """
    if not messages or messages[-1].get("role") == "assistant":
        return False
    for message in reversed(messages):
        text = chat_chunk.text(message)
        opening, closing = text.rfind("<think>"), text.rfind("</think>")
        if opening != closing:  # both are -1 where there is none
            return opening > closing
    return False


def shortened(reasoning: str, tokens: int, reserve: int) -> str:
    """The reasoning without its end, which gives the answer room in a full context.

    Args:
        reasoning: of so many `tokens`.
        tokens: see `reasoning`.
        reserve: tokens to make room for; at most half of the reasoning goes.
    """
    share = min(0.5, reserve / max(1, tokens))
    return reasoning[: round(len(reasoning) * (1 - share))]


def without_echo(reasoning: str, text: str, prefix: str) -> str:
    """The text of a message that went on after `prefix`, which llama.cpp repeats.

    Args:
        reasoning: that of the message; what is not repeated belongs to its text.
        text: that of the message.
        prefix: how it began.
    """
    thoughts = prefix.partition("<think>")[2].partition("</think>")[0].strip()
    if reasoning.strip().startswith(thoughts):
        reasoning = reasoning.strip().removeprefix(thoughts)
    return reasoning + text.removeprefix(prefix).removeprefix(prefix.rstrip())
