"""`tops problems`: demo-domain problems as JSON Lines."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from models.domain.stories import MAX_STEPS, Split, Story, stories


def unique_stories(seed: int, split: Split, low: int, high: int) -> Iterator[Story]:
    """The stories of `models.domain.stories.stories`, without repeats."""
    ids: set[str] = set()
    for story in stories(seed, split, low, high):
        if story.problem_id not in ids:
            ids.add(story.problem_id)
            yield story


def problems_main(argv: Sequence[str]) -> int:
    """Print `--n` problems; the same seed and split give the same ones."""
    parser = argparse.ArgumentParser(prog="tops problems", description="Print demo problems.")
    parser.add_argument("--n", type=int, required=True, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--steps", default=f"1-{MAX_STEPS}", help="fewest-most, e.g. 3-5")
    arguments = parser.parse_args(argv)
    low, _, high = arguments.steps.partition("-")
    if not (low.isdigit() and high.isdigit() and 1 <= int(low) <= int(high) <= MAX_STEPS):
        parser.error(f"--steps must be FEWEST-MOST within 1-{MAX_STEPS}, not {arguments.steps}")
    if arguments.n < 0:
        parser.error(f"--n must be 0 or more, not {arguments.n}")
    stream = unique_stories(arguments.seed, arguments.split, int(low), int(high))
    try:
        _write(islice(stream, arguments.n))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough; keep the interpreter from flushing again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _write(problems: Iterable[Story]) -> None:
    for story in problems:
        row = {
            "problem_id": story.problem_id,
            "prompt": story.prompt,
            "answer": story.answer,
            "difficulty": story.difficulty,
        }
        sys.stdout.write(json.dumps(row) + "\n")
