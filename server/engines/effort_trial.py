"""A trial of an effort: a prompt of the effort canary or of `tops audit --engine`, and its reply.

The prompts are stories that take a sum of two to nine steps: every reasoning model thinks about
them, and the demo model knows nothing else.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from router.effort import Effort
from router.finish_reason import finish_meaning
from server.engines import chat_chunk
from server.engines.dialect import Dialect
from server.engines.usage import read_usage

_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jack")
_THINGS = ("apples", "pens", "coins", "books", "cards", "shells")
_GAINS, _LOSSES = ("buys", "finds", "wins"), ("loses", "sells", "gives away")
_MIN_STEPS, _MAX_STEPS = 2, 9
_SEED = 21
_MIN_TOKENS, _TEMPLATE_TOKENS = 16, 128
"""Tokens of a reply at least, and about those that a chat template adds to a prompt."""


@dataclass(frozen=True)
class Trial:
    """A reply to one prompt at one effort.

    Args:
        thinking: thinking tokens; None where the engine does not tell them apart.
        completion: all tokens of the reply.
        cut: whether it ended at the limit of tokens.
        answered: whether there is an answer beside the thoughts.
        digest: equal for equal texts only.
    """

    thinking: int | None
    completion: int
    cut: bool
    answered: bool
    digest: str


Trials = Mapping[Effort, Mapping[str, Trial]]
"""The replies by effort and prompt."""


def prompts(number: int) -> list[str]:
    """So many different prompts, the same at every call, of mixed lengths."""
    random = Random(_SEED)
    span = _MAX_STEPS - _MIN_STEPS + 1
    return [_story(random, _MIN_STEPS + 5 * index % span) for index in range(number)]


def _story(random: Random, steps: int) -> str:
    name, things = random.choice(_NAMES), random.choice(_THINGS)
    count = random.randint(20, 99)
    sentences = [f"{name} has {count} {things}."]
    for _ in range(steps):
        gains = count < 40 or random.random() < 0.5
        number = random.randint(2, 60) if gains else random.randint(2, count - 1)
        count += number if gains else -number
        verb = random.choice(_GAINS if gains else _LOSSES)
        comparative = " more" if verb == "buys" else ""
        sentences.append(f"{name} {verb} {number}{comparative} {things}.")
    return f"{' '.join(sentences)} How many {things} does {name} have now?"


def trial_body(
    dialect: Dialect, model: str, effort: Effort, prompt: str, max_tokens: int, temperature: float
) -> dict[str, Any]:
    """The chat request of a trial; a vendor's own models take no temperature with an effort."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if dialect.hosted:
        body["max_completion_tokens"] = max_tokens
    else:
        body |= {"max_tokens": max_tokens, "temperature": temperature}
    dialect.apply(body, effort, None)
    return body


def room(context: int | None, prompt: str, max_tokens: int) -> int:
    """The most completion tokens that fit into a context, None where that is not known."""
    if context is None:
        return max_tokens
    return max(_MIN_TOKENS, min(max_tokens, context - len(prompt.encode()) // 2 - _TEMPLATE_TOKENS))


def read_trial(answer: object) -> Trial | None:
    """The trial of a chat completion; None where it has no choice or does not count its tokens."""
    if not isinstance(answer, dict):
        return None
    completion = cast("dict[str, Any]", answer)
    choice, usage = chat_chunk.first_choice(completion), read_usage(completion)
    if choice is None or usage is None:
        return None
    message = chat_chunk.part(choice, "message")
    thoughts, _ = chat_chunk.reasoning(message)
    return Trial(
        thinking=0 if usage.thinking is None and not thoughts else usage.thinking,
        completion=usage.completion,
        cut=finish_meaning(choice.get("finish_reason")) == "cut",
        answered=chat_chunk.has_answer(message),
        digest=hashlib.sha256(f"{thoughts}\0{chat_chunk.text(message)}".encode()).hexdigest()[:16],
    )


def pairs(efforts: Sequence[Effort], prompts: Sequence[str]) -> Iterator[tuple[str, Effort]]:
    """Prompts and efforts, all efforts of a prompt together: what is there can be compared."""
    for prompt in prompts:
        for effort in efforts:
            yield prompt, effort
