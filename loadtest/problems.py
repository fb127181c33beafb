"""The questions of a load test: conversations of problems, from a file or the demo domain."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from loadtest.plan import PlanError, Problems

_DEMO_CONVERSATIONS = 300


@dataclass(frozen=True)
class Problem:
    """A question; `answer` is None where it is not known."""

    problem_id: str
    prompt: str
    answer: str | None = None


Conversation = tuple[Problem, ...]


def read_conversations(source: Problems) -> list[Conversation]:
    """The conversations of a plan, in their order.

    Raises:
        PlanError: the file cannot be read, is empty, or has something in it that is no problem.
    """
    text = _demo_problems(source) if source.file is None else _text(source.file)
    if text.lstrip().startswith("["):
        found = _share_gpt(source, text)
    else:
        problems = _problems(source, text)
        if len(problems) < source.turns:
            raise PlanError(f"{source.file}: {len(problems)} problems are no {source.turns} turns")
        ends = range(source.turns, len(problems) + 1, source.turns)
        found = [tuple(problems[end - source.turns : end]) for end in ends]
    return found[: source.n]


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{file}: {error}") from error
    if not text.strip():
        raise PlanError(f"{file}: there are no problems")
    return text


def _problems(source: Problems, text: str) -> list[Problem]:
    problems: dict[str, Problem] = {}
    most = source.n and source.n * source.turns
    for number, line in enumerate(text.splitlines()[:most], 1):
        try:
            row: dict[str, Any] = json.loads(line)
            answer = row.get("answer")
            problem = Problem(
                str(row.get("problem_id", number)),
                str(row["prompt"]),
                None if answer is None else str(answer),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"{source.file}, line {number}: {error!r}") from error
        if problem.problem_id in problems:
            raise PlanError(f"{source.file}, line {number}: {problem.problem_id} is there already")
        problems[problem.problem_id] = problem
    return list(problems.values())


def _share_gpt(source: Problems, text: str) -> list[Conversation]:
    """What people said, conversation by conversation; those in which nobody did are left out."""
    try:
        rows = cast("list[dict[str, Any]]", json.loads(text))
        said = [
            [str(one["value"]) for one in row["conversations"] if one["from"] in ("human", "user")]
            for row in rows
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{source.file} is not ShareGPT's JSON: {error!r}") from error
    found = [
        tuple(
            Problem(f"{place}.{turn}", prompt) for turn, prompt in enumerate(turns[: source.turns])
        )
        for place, turns in enumerate(said)
        if turns
    ]
    if not found:
        raise PlanError(f"{source.file}: nobody says anything in it")
    return found


def _demo_problems(source: Problems) -> str:
    n = (source.n or _DEMO_CONVERSATIONS) * source.turns
    words = ["--n", str(n), "--seed", str(source.seed)]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "tops", "problems", *words, "--steps", source.steps],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PlanError(f"problems: {done.stderr.strip()}")
    return done.stdout
