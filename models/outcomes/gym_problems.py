"""Problems of reasoning-gym: a hundred generators of tasks, each with a scorer of its own.

Items are drawn in a process with a fixed hash seed, on which a few tasks depend, and stored whole.
The library draws item i of a seed from seed + i; here, no two seeds share an item's seed.
"""

import difflib
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from models.outcomes.check import GymItem
from models.outcomes.gym_answer import ASK
from models.outcomes.problem_sets import Problem, ProblemError
from models.outcomes.sandbox_judge import INSTALL_GYM
from models.sandbox.gym import encoded
from models.sandbox.sandbox import JobError, Sandbox, SandboxError, unsupported

LEFT_OUT: Mapping[str, str] = {
    **dict.fromkeys(
        ("game_of_life_halting", "coin_flip", "puzzle24"),
        "its scorer accepts one constant answer for every item",
    ),
    "composite": "it mixes other tasks: give those instead",
}
"""Tasks that cannot judge a model, and why."""

_ITEM_SEEDS = 1_000_000
_CHUNK = 100
_SECONDS_PER_ITEM = 10
_MOST_REPEATS = 20
_MEMORY_MIB = 2048
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class GymTask:
    """`n` distinct items of a task; `difficulty` are fields of the task's configuration."""

    task: str
    n: int
    seed: int = 0
    difficulty: Mapping[str, Any] = field(default_factory=dict[str, Any])


def gym_problems(tasks: Sequence[GymTask]) -> list[Problem]:
    """The items of tasks, as problems of the kind of their task's name.

    Raises:
        ProblemError: reasoning-gym is not installed or cannot run here, a task is unknown, left out
            or has too few items, or it refuses its difficulty.
    """
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ProblemError(f"reasoning-gym is not installed: {INSTALL_GYM}")
    if reason := unsupported():
        raise ProblemError(f"reasoning-gym runs in a sandbox, and {reason}: use a Linux container")
    try:
        with Sandbox(modules=["reasoning_gym"]) as sandbox:
            known = sandbox.run("tasks", {}, _SECONDS_PER_ITEM * _CHUNK)
            for task in tasks:
                _check(task, known)
            return [problem for task in tasks for problem in _problems(task, sandbox)]
    except SandboxError as error:
        raise ProblemError(str(error)) from error


def _check(task: GymTask, known: Mapping[str, Sequence[str]]) -> None:
    if reason := LEFT_OUT.get(task.task):
        raise ProblemError(f"reasoning-gym's {task.task} is left out: {reason}")
    if task.task not in known:
        near = difflib.get_close_matches(task.task, known, n=_SHOWN_NAMES, cutoff=0.5)
        hint = f": did you mean {', '.join(near)}?" if near else f"; it has {', '.join(known)}"
        raise ProblemError(f"reasoning-gym has no task {task.task!r}{hint}")
    fields = known[task.task]
    if missing := [name for name in task.difficulty if name not in fields]:
        raise ProblemError(
            f"reasoning-gym's {task.task} has no {missing[0]!r} to set; it has "
            f"{', '.join(fields) or 'nothing'}"
        )
    if not 0 <= task.seed < (1 << 32) // _ITEM_SEEDS:
        raise ProblemError(f"seeds of reasoning-gym are 0 to {(1 << 32) // _ITEM_SEEDS - 1}")


def _problems(task: GymTask, sandbox: Sandbox) -> Iterator[Problem]:
    prompts: set[str] = set()
    start = 0
    while len(prompts) < task.n:
        if start >= min(_MOST_REPEATS * (task.n + 1), _ITEM_SEEDS):
            raise ProblemError(
                f"reasoning-gym's {task.task} gave {len(prompts)} distinct items in {start}, not "
                f"{task.n}: ask for fewer, or widen its difficulty"
            )
        stop = start + min(_CHUNK, task.n - len(prompts))
        for item in _items(task, sandbox, start, stop):
            if item["question"] not in prompts:
                prompts.add(item["question"])
                yield _problem(task, item)
        start = stop


def _items(task: GymTask, sandbox: Sandbox, start: int, stop: int) -> list[dict[str, Any]]:
    payload = {
        "task": task.task, "difficulty": encoded(dict(task.difficulty)), "start": start,
        "stop": stop, "seed": task.seed * _ITEM_SEEDS,
    }  # fmt: skip
    try:
        return sandbox.run("items", payload, _SECONDS_PER_ITEM * _CHUNK, _MEMORY_MIB)
    except JobError as error:
        raise ProblemError(f"reasoning-gym's {task.task} made no items: {error}") from error


def _problem(task: GymTask, item: Mapping[str, Any]) -> Problem:
    question, answer = item["question"], item["answer"]
    digest = hashlib.sha256(question.encode()).hexdigest()[:12]
    check = GymItem(task.task, encoded(dict(task.difficulty)), question, answer, item["metadata"])
    return Problem(
        f"{task.task}-{digest}", question.rstrip() + ASK, answer or "", kind=task.task, check=check
    )


def write_gym_problems(stream: TextIO, tasks: Sequence[GymTask]) -> None:
    """Write the problems as JSON Lines; if the reader closes the stream, return early.

    Raises:
        ProblemError: see `gym_problems`.
    """
    try:
        for problem in gym_problems(tasks):
            assert isinstance(problem.check, GymItem)
            row = {
                "problem_id": problem.problem_id,
                "prompt": problem.prompt,
                "answer": problem.check.answer,
                "kind": problem.kind,
                "reasoning_gym": vars(problem.check),
            }
            stream.write(json.dumps(row) + "\n")
        stream.flush()
    except BrokenPipeError:  # without this the interpreter would flush again at exit, and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
