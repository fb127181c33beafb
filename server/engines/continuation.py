"""How an engine continues after its reasoning block was closed for it.

For models whose reasoning block is `<think>...</think>`.
"""

from collections.abc import Mapping
from typing import Any, cast

TRANSITION = "\nThat is all the time there is for thinking. The answer, from what is known so far:"

_LIMITS = ("max_tokens", "max_completion_tokens")


def closed_block(reasoning: str) -> str:
    """The reasoning block, ended by a transition sentence; the answer follows it."""
    return f"<think>\n{reasoning.strip()}{TRANSITION}\n</think>\n\n"


def requested_limit(body: Mapping[str, Any]) -> int | None:
    """The smallest of the fields that bound a chat completion, in tokens."""
    limits = [body[name] for name in _LIMITS if isinstance(body.get(name), int)]
    return min(limits, default=None)


def continued_chat(
    body: dict[str, Any], resume: dict[str, Any], prefix: str, remaining: int | None
) -> dict[str, Any]:
    """The chat body that has the engine go on after `prefix`.

    Args:
        body: that of the first request.
        resume: fields that make the engine continue the last message.
        prefix: how the assistant's message begins.
        remaining: completion tokens that are left, at least 1; None without a limit.
    """
    messages = list(cast("list[dict[str, Any]]", body["messages"]))
    if body.get("continue_final_message") and isinstance(messages[-1].get("content"), str):
        prefix = messages.pop()["content"] + prefix
    messages.append({"role": "assistant", "content": prefix})
    continued = {**body, **resume, "messages": messages}
    if remaining is not None:
        for name in (*_LIMITS, "min_tokens"):
            if isinstance(body.get(name), int):
                continued[name] = min(body[name], max(1, remaining))
    return continued


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
        prefix: see `continued_chat`.
    """
    thoughts = prefix.partition("<think>")[2].partition("</think>")[0].strip()
    if reasoning.strip().startswith(thoughts):
        reasoning = reasoning.strip().removeprefix(thoughts)
    return reasoning + text.removeprefix(prefix).removeprefix(prefix.rstrip())
