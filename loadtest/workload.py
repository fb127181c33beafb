"""What is sent: problems with known answers, each once in every arm."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from loadtest.plan import Arm, Plan, PlanError


@dataclass(frozen=True)
class Problem:
    """A question with its gold answer."""

    problem_id: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Task:
    """One request to be made; `budget` is in thinking tokens."""

    problem: Problem
    arm: Arm
    budget: int | None


def read_problems(plan: Plan) -> list[Problem]:
    """The plan's problems.

    Raises:
        PlanError: the file is not there, or a line of it is broken.
    """
    source = plan.problems
    if source.file is None:
        words = ["problems", "--n", str(source.n), "--seed", str(source.seed)]
        text = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "tops", *words], capture_output=True, text=True, check=True
        ).stdout
    else:
        try:
            text = source.file.read_text()
        except OSError as error:
            raise PlanError(f"{source.file}: {error.strerror}") from error
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines()[: source.n], 1):
        try:
            row: dict[str, Any] = json.loads(line)
            problems.append(Problem(str(row["problem_id"]), row["prompt"], str(row["answer"])))
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(f"{source.file}, line {number}: {error!r}") from error
    return problems


def plan_tasks(plan: Plan, problems: list[Problem]) -> list[Task]:
    """Every problem in every arm, shuffled: whatever the machine does then hits all arms alike."""
    rng = random.Random(plan.seed)
    tasks = [
        Task(
            problem=problem,
            arm=arm,
            budget=rng.randint(*arm.budget) if arm.budget else None,
        )
        for problem in problems
        for arm in plan.arms
    ]
    rng.shuffle(tasks)
    return tasks
