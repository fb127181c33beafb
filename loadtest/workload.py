"""What is sent: problems with known answers, each once in every arm."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from loadtest.plan import Arm, Plan, PlanError, Problems

_DEMO_PROBLEMS = 300


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
        PlanError: the file is not there or empty, or a line of it is broken or repeats a problem.
    """
    source = plan.problems
    if source.file is None:
        text = _demo_problems(source)
    else:
        try:
            text = source.file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"{source.file}: {error}") from error
    problems: dict[str, Problem] = {}
    for number, line in enumerate(text.splitlines()[: source.n], 1):
        try:
            row: dict[str, Any] = json.loads(line)
            problem = Problem(str(row["problem_id"]), str(row["prompt"]), str(row["answer"]))
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(f"{source.file}, line {number}: {error!r}") from error
        if problem.problem_id in problems:
            raise PlanError(f"{source.file}, line {number}: {problem.problem_id} is there already")
        problems[problem.problem_id] = problem
    if not problems:
        raise PlanError(f"{source.file}: there are no problems")
    return list(problems.values())


def _demo_problems(source: Problems) -> str:
    words = ["--n", str(source.n or _DEMO_PROBLEMS), "--seed", str(source.seed)]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "tops", "problems", *words, "--steps", source.steps],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PlanError(f"problems: {done.stderr.strip()}")
    return done.stdout


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
