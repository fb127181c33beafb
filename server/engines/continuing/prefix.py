"""How a message begins that an engine goes on with: its reasoning block, closed for it.

For models whose reasoning block is `<think>...</think>`.
"""

TRANSITION = "\nThat is all the time there is for thinking. The answer, from what is known so far:"


def closed_block(reasoning: str) -> str:
    """The reasoning block, ended by a transition sentence; the answer follows it."""
    return f"<think>\n{reasoning.strip()}{TRANSITION}\n</think>\n\n"


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
