"""The prompts of the effort canary and of `tops audit --engine`, and a reply to one as a trial.

The prompts are stories that take a sum of two to nine steps: every reasoning model thinks about
them, and the demo model knows nothing else.
"""

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Any, cast

from router.effort import Effort
from server.engines import chat_chunk
from server.engines.dialect import Dialect
from server.engines.effort_effects import Trial
from server.engines.usage import read_usage

_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jack")
_THINGS = ("apples", "pens", "coins", "books", "cards", "shells")
_GAINS, _LOSSES = ("buys", "finds", "wins"), ("loses", "sells", "gives away")
_MIN_STEPS, _MAX_STEPS = 2, 9
_SEED = 21


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
        more = " more" if verb == "buys" else ""
        sentences.append(f"{name} {verb} {number}{more} {things}.")
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
        cut=choice.get("finish_reason") == "length",
        answered=chat_chunk.has_answer(message),
        digest=hashlib.sha256(f"{thoughts}\0{chat_chunk.text(message)}".encode()).hexdigest()[:16],
    )


def pairs(efforts: tuple[Effort, ...], asked: list[str]) -> Iterator[tuple[str, Effort]]:
    """Prompts and efforts, all efforts of a prompt together: what is there can be compared."""
    for prompt in asked:
        for effort in efforts:
            yield prompt, effort
