"""One request of the gateway to its engines, whichever of them takes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.engines.usage import Usage


@dataclass(frozen=True)
class Call:
    """A POST to the engines.

    Args:
        path: below the engine's `/v1`.
        headers: sent along; `x-request-id`, and the trace of the request.
        write: makes the JSON body; its argument is the budget in thinking tokens that the engine
            is to enforce, None for no budget in the body.
        budget: thinking tokens, None without a limit.
        conversation: key of the conversation; its requests stay on one engine.
        thinks: whether the model may think.
        max_tokens: completion tokens at most; None without a limit.
        choices: answers to generate.
        reserve: completion tokens that the answer needs besides thinking.
        counts_thinking: whether thinking tokens that the engine does not report are to be counted.
        book: takes tokens that were spent, and that no usage of an answer will report.
    """

    path: str
    headers: Mapping[str, str]
    write: Callable[[int | None], dict[str, Any]]
    budget: int | None = None
    conversation: str | None = None
    thinks: bool = True
    max_tokens: int | None = None
    choices: int = 1
    reserve: int = 1
    counts_thinking: bool = False
    book: Callable[[Usage], None] | None = None
