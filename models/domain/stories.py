"""The demo domain: arithmetic stories with an exact answer and adjustable difficulty.

A story is a chain of 1 to 10 operations on a running total, in plain English with distractor
sentences in between. The difficulty is the number of operations; operands grow with it. A seed
determines the stream of stories, and a story's numbers determine its split, so no chain of numbers
is in two splits.

This module knows nothing of models, tokenizers or efforts: `models.domain.reasoning_traces` writes
the reasoning.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]

MAX_STEPS = 10
MAX_TOTAL = 999
_DISTRACTOR_RATE = 0.2

PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jo", "Kim", "Leo")
ITEMS = (
    "apples",
    "books",
    "coins",
    "stamps",
    "shells",
    "cards",
    "pens",
    "beads",
    "stones",
    "eggs",
)
_ADD = (
    "{who} buys {n} more {item}.",
    "{who} finds {n} {item}.",
    "A friend gives {who} {n} {item}.",
    "Then {who} wins {n} {item}.",
    "{n} more {item} arrive for {who}.",
)
_SUBTRACT = (
    "{who} gives away {n} {item}.",
    "{who} loses {n} {item}.",
    "{who} sells {n} of the {item}.",
    "Then {n} {item} break.",
    "{who} lends {n} {item} to a friend.",
)
_MULTIPLY = {
    2: ("Then the number of {item} doubles.", "{who} makes it twice as many {item}."),
    3: ("Then the number of {item} triples.", "{who} makes it three times as many {item}."),
}
_DISTRACTORS = (
    "{bystander} has {n} {object}.",
    "The shop opens at {n} past eight.",
    "{bystander} is {n} years old.",
    "A box of {object} costs {n} dollars.",
)
_START = (
    "{who} has {n} {item}.",
    "{who} starts with {n} {item}.",
    "There are {n} {item} on the table of {who}.",
)
_QUESTION = (
    "How many {item} does {who} have now?",
    "How many {item} are there in the end?",
    "What is the number of {item} now?",
)


@dataclass(frozen=True)
class Step:
    """One operation: `before` `symbol` `operand` = `total`; the symbol is "+", "-" or "*"."""

    symbol: str
    operand: int
    before: int
    total: int


@dataclass(frozen=True)
class Story:
    """A problem of the demo domain; `difficulty` is the number of steps."""

    problem_id: str
    prompt: str
    answer: str
    difficulty: int
    steps: tuple[Step, ...]


def split_of(start: int, steps: tuple[Step, ...]) -> Split:
    """The split of a chain of numbers, by its hash: 90 % train, 5 % validation, 5 % test."""
    chain = f"{start}" + "".join(f"{step.symbol}{step.operand}" for step in steps)
    bucket = hashlib.sha256(chain.encode()).digest()[0]
    return "train" if bucket < 230 else "validation" if bucket < 243 else "test"


def operand_limit(steps: int) -> int:
    """The largest operand in a story of `steps` operations."""
    return 5 + 15 * steps


def write_story(rng: random.Random, steps: int) -> Story:
    """One story with `steps` operations, drawn from `rng`."""
    limit = operand_limit(steps)
    start = rng.randint(2, limit)
    chain = tuple(_chain(rng, start, steps, limit))
    prompt = tell(rng, chain, limit)
    problem_id = hashlib.sha256(prompt.encode()).hexdigest()[:12]
    return Story(problem_id, prompt, str(chain[-1].total), steps, chain)


def tell(
    rng: random.Random,
    chain: Sequence[Step],
    limit: int,
    write: Callable[[int], str] = str,
) -> str:
    """The prompt of a chain of steps; numbers that do not count go up to `limit`."""
    who, bystander = rng.sample(PEOPLE, 2)
    item, distractor = rng.sample(ITEMS, 2)

    def sentence(patterns: tuple[str, ...], n: int) -> str:
        return rng.choice(patterns).format(
            who=who, bystander=bystander, item=item, object=distractor, n=write(n)
        )

    sentences = [sentence(_START, chain[0].before)]
    for step in chain:
        if rng.random() < _DISTRACTOR_RATE:
            sentences.append(sentence(_DISTRACTORS, rng.randint(2, limit)))
        patterns = {"+": _ADD, "-": _SUBTRACT}.get(step.symbol) or _MULTIPLY[step.operand]
        sentences.append(sentence(patterns, step.operand))
    sentences.append(sentence(_QUESTION, 0))
    return " ".join(sentences)


def _chain(rng: random.Random, start: int, steps: int, limit: int) -> Iterator[Step]:
    total = start
    for _ in range(steps):
        choices = ["+"] * (total + limit <= MAX_TOTAL) + ["-"] * (total > 2)
        if total * 3 <= MAX_TOTAL and rng.random() < 0.15:
            choices = ["*"]
        symbol = rng.choice(choices)
        if symbol == "*":
            operand = rng.choice((2, 3))
        else:
            operand = rng.randint(2, limit if symbol == "+" else min(limit, total - 1))
        result = {"+": total + operand, "-": total - operand, "*": total * operand}[symbol]
        yield Step(symbol, operand, total, result)
        total = result


def stories(
    seed: int, split: Split = "train", low: int = 1, high: int = MAX_STEPS
) -> Iterator[Story]:
    """An endless stream of stories of one split, with `low` to `high` steps, uniformly."""
    rng = random.Random(f"{split}:{seed}")
    while True:
        story = write_story(rng, rng.randint(low, high))
        if split_of(story.steps[0].before, story.steps) == split:
            yield story
