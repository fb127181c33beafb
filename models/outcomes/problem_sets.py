"""Problems with known answers: a user's file, or a public set by its name."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from models.outcomes.check import Check, read_check
from models.outcomes.verify import unjudgeable
from router.json_text import parse_object
from router.text_file import read_text

_DOWNLOAD_SECONDS = 60
_NUMBER_LAST = "\n\nGive the final answer as a number at the end."
_BOXED_LAST = "\n\nPut the final answer in \\boxed{} at the end."


class ProblemError(Exception):
    """The problems cannot be used; the message says why."""


@dataclass(frozen=True)
class Problem:
    """A prompt and its answer.

    `difficulty` is on the scale of its problem set, if it has one. `kind` is of traffic; `system`
    is the system message of its requests, where that is not the run's. `check` is what answers are
    checked against, where that is more than `answer`.
    """

    problem_id: str
    prompt: str
    answer: str
    difficulty: float | None = None
    kind: str | None = None
    system: str | None = None
    check: Check | None = None


def _gsm8k(row: Mapping[str, Any], number: int) -> Problem:
    answer = str(row["answer"]).rpartition("####")[2].strip()
    return Problem(f"gsm8k-{number}", row["question"] + _NUMBER_LAST, answer)


def _math(row: Mapping[str, Any], _: int) -> Problem:
    return Problem(row["unique_id"], row["problem"] + _BOXED_LAST, row["answer"])


@dataclass(frozen=True)
class PublicSet:
    """The URL of a set, and the function that makes a problem of its row and line number."""

    url: str
    problem: Callable[[Mapping[str, Any], int], Problem]


PUBLIC: Mapping[str, PublicSet] = {
    "gsm8k": PublicSet(
        "https://raw.githubusercontent.com/openai/grade-school-math/master/"
        "grade_school_math/data/test.jsonl",
        _gsm8k,
    ),
    "math": PublicSet(
        "https://huggingface.co/datasets/HuggingFaceH4/MATH-500/resolve/main/test.jsonl", _math
    ),
}
"""The test split of GSM8K (1,319 problems, MIT) and MATH-500 (MIT), from their publishers."""


def read_problems(
    source: str, public: Mapping[str, PublicSet] = PUBLIC, run_code: bool = False
) -> list[Problem]:
    """The problems of a file (JSON Lines, gzip allowed), or of a public set.

    Args:
        source: the file, or the name of the set.
        public: the sets.
        run_code: whether programs that a model has written may be run.

    Raises:
        ProblemError: there is no such file or set, it cannot be downloaded, a line is broken or
            repeats a problem id, or an answer cannot be judged here.
    """
    if source in public:
        file, parse = _download(source, public[source].url), public[source].problem
    else:
        file, parse = Path(source), _parse_row
    problems: dict[str, Problem] = {}
    for number, line in _lines(file, public):
        where = f"{file}, line {number}"
        try:
            problem = parse(parse_object(line), number)
            for text in (problem.prompt, problem.kind or "", problem.system or ""):
                text.encode()
        except UnicodeEncodeError as error:
            raise ProblemError(f"{where}: half of a surrogate pair is no text") from error
        except (ValueError, TypeError) as error:
            raise ProblemError(f"{where}: {error}") from error
        if problem.problem_id in problems:
            raise ProblemError(f"{where}: {problem.problem_id} is there already")
        if reason := unjudgeable(problem.answer, problem.check, run_code):
            raise ProblemError(f"{where}: {reason}")
        problems[problem.problem_id] = problem
    if not problems:
        raise ProblemError(f"{file} has no problems")
    return list(problems.values())


def _parse_row(row: Mapping[str, Any], _: int) -> Problem:
    checked_alone = row.get("reasoning_gym") or row.get("tests")
    for name in ("problem_id", "prompt", *(() if checked_alone else ("answer",))):
        if row[name] is None:
            raise ValueError(f"field {name} is null")
    prompt, answer = str(row["prompt"]), row.get("answer")
    problem = Problem(str(row["problem_id"]), prompt, "" if answer is None else str(answer))
    check = read_check(row, prompt)
    return replace(problem, kind=_text(row, "kind"), system=_text(row, "system"), check=check)


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"field {name} is not text")
    return value or None


def _lines(file: Path, public: Mapping[str, PublicSet]) -> Iterator[tuple[int, str]]:
    if not file.exists():
        sets = ", ".join(public)
        raise ProblemError(f"there is no file {file}; the public sets are {sets}")
    try:
        text = read_text(file)
    except ValueError as error:
        raise ProblemError(str(error)) from error
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _download(name: str, url: str) -> Path:
    """The set's file in the cache, downloaded once and completely."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tops"
    file = cache / f"{name}.jsonl"
    if file.exists():
        return file
    try:
        response = httpx.get(
            url, timeout=_DOWNLOAD_SECONDS, follow_redirects=True
        ).raise_for_status()
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_bytes(response.content)
        partial.replace(file)
    except (httpx.HTTPError, OSError) as error:
        raise ProblemError(
            f"{name} could not be downloaded ({error}): save {url} as {file}, then run this again"
        ) from error
    return file
