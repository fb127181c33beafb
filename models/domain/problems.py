"""Problems of the demo domain as JSON Lines, without repetitions."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

from models.domain.retelling import conversations
from models.domain.stories import Split, Story, stories

KIND = "stories"
"""The kind of traffic of retold problems: not one kind for each system message."""


def unique_stories(seed: int, split: Split, low: int, high: int) -> Iterator[Story]:
    """The stories of `models.domain.stories.stories`, without repeats."""
    ids: set[str] = set()
    for story in stories(seed, split, low, high):
        if story.problem_id not in ids:
            ids.add(story.problem_id)
            yield story


@dataclass(frozen=True)
class RetoldProblem:
    """A story in other words; `system` is the message before it, if there is one."""

    problem_id: str
    prompt: str
    answer: str
    difficulty: int
    system: str | None


def retold_problems(seed: int, split: Split, low: int, high: int) -> Iterator[RetoldProblem]:
    """The stories of `models.domain.retelling.conversations` without earlier turns or repeats."""
    ids: set[str] = set()
    for conversation in conversations(seed, split, low, high):
        opening, prompt = (
            [m["content"] for m in conversation.messages[:-1]],
            conversation.messages[-1]["content"],
        )
        if conversation.story is None or len(opening) > 1:
            continue
        system = opening[0] if opening else None
        problem_id = hashlib.sha256(f"{system}\n{prompt}".encode()).hexdigest()[:12]
        if problem_id not in ids:
            ids.add(problem_id)
            story = conversation.story
            yield RetoldProblem(problem_id, prompt, story.answer, len(story.steps), system)


def write_problems(
    stream: TextIO,
    count: int,
    seed: int,
    split: Split,
    steps: tuple[int, int],
    retold: bool = False,
) -> None:
    """Write problems as JSON Lines; the same seed and split give the same ones.

    Args:
        stream: if its reader closes it, the function returns early.
        count: number of problems.
        seed: of the stories.
        split: part of the domain.
        steps: smallest and largest number of steps.
        retold: in other words, some after a system message, all of the kind `stories`.
    """
    source = retold_problems if retold else unique_stories
    try:
        for problem in islice(source(seed, split, *steps), count):
            row: dict[str, object] = {
                "problem_id": problem.problem_id,
                "prompt": problem.prompt,
                "answer": problem.answer,
                "difficulty": problem.difficulty,
            }
            if isinstance(problem, RetoldProblem):
                row |= {"system": problem.system, "kind": KIND}
            stream.write(json.dumps(row) + "\n")
        stream.flush()
    except BrokenPipeError:  # without this the interpreter would flush again at exit, and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
