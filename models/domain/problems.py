"""Problems of the demo domain as JSON Lines, without repetitions."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import TextIO

from models.domain.stories import Split, Story, stories


def unique_stories(seed: int, split: Split, low: int, high: int) -> Iterator[Story]:
    """The stories of `models.domain.stories.stories`, without repeats."""
    ids: set[str] = set()
    for story in stories(seed, split, low, high):
        if story.problem_id not in ids:
            ids.add(story.problem_id)
            yield story


def write_problems(
    stream: TextIO, count: int, seed: int, split: Split, steps: tuple[int, int]
) -> None:
    """Write problems as JSON Lines; the same seed and split give the same ones.

    Args:
        stream: if its reader closes it, the function returns early.
        count: number of problems.
        seed: of the stories.
        split: part of the domain.
        steps: smallest and largest number of steps.
    """
    try:
        for story in islice(unique_stories(seed, split, *steps), count):
            row = {
                "problem_id": story.problem_id,
                "prompt": story.prompt,
                "answer": story.answer,
                "difficulty": story.difficulty,
            }
            stream.write(json.dumps(row) + "\n")
        stream.flush()
    except BrokenPipeError:  # without this the interpreter would flush again at exit, and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
