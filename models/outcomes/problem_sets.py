"""Problems with known answers: a user's own file, or a public set by its name."""

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from models.outcomes.verify import unjudgeable

_SECONDS = 60
_NUMBER_LAST = "\n\nGive the final answer as a number at the end."
_BOXED_LAST = "\n\nPut the final answer in \\boxed{} at the end."


class ProblemError(Exception):
    """The problems cannot be used; the message says why."""


@dataclass(frozen=True)
class Problem:
    """A prompt and its answer; `difficulty` is on the scale of its set, where it has one."""

    problem_id: str
    prompt: str
    answer: str
    difficulty: float | None = None


def _gsm8k(row: Mapping[str, Any], number: int) -> Problem:
    answer = row["answer"].rpartition("####")[2].strip()
    return Problem(f"gsm8k-{number}", row["question"] + _NUMBER_LAST, answer)


def _math(row: Mapping[str, Any], _: int) -> Problem:
    return Problem(row["unique_id"], row["problem"] + _BOXED_LAST, row["answer"])


@dataclass(frozen=True)
class PublicSet:
    """Where a set lies, and how a row of it becomes a problem."""

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
"""GSM8K's test split (1,319 problems, MIT) and MATH-500 (MIT), from their publishers."""


def read_problems(source: str, public: Mapping[str, PublicSet] = PUBLIC) -> list[Problem]:
    """The problems of a file (JSON Lines, gzip allowed), or of a public set.

    Raises:
        ProblemError: there is no such file or set, it cannot be fetched, a line is broken or
            repeats a problem, or an answer cannot be judged here.
    """
    if source in public:
        file, read = _fetched(source, public[source].url), public[source].problem
    else:
        file, read = Path(source), _plain
    problems: dict[str, Problem] = {}
    for number, line in enumerate(_lines(file, public), 1):
        where = f"{file}, line {number}"
        try:
            problem = read(json.loads(line), number)
            problem.prompt.encode()  # half a pair of surrogates cannot be sent
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ProblemError(f"{where}: {error!r}") from error
        if problem.problem_id in problems:
            raise ProblemError(f"{where}: {problem.problem_id} is there already")
        if why := unjudgeable(problem.answer):
            raise ProblemError(f"{where}: {why}")
        problems[problem.problem_id] = problem
    if not problems:
        raise ProblemError(f"{file} has no problems")
    return list(problems.values())


def _plain(row: Mapping[str, Any], _: int) -> Problem:
    return Problem(str(row["problem_id"]), str(row["prompt"]), str(row["answer"]))


def _lines(file: Path, public: Mapping[str, PublicSet]) -> Iterator[str]:
    try:
        raw = file.read_bytes()
        if file.suffix == ".gz":
            raw = gzip.decompress(raw)
        text = raw.decode()
    except FileNotFoundError as error:
        sets = ", ".join(public)
        raise ProblemError(f"there is no file {file}; the public sets are {sets}") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ProblemError(f"{file} cannot be read: {error}") from error
    return (line for line in text.split("\n") if line.strip())


def _fetched(name: str, url: str) -> Path:
    """The set's file in the cache; fetched whole, or not at all."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tops"
    file = cache / f"{name}.jsonl"
    if file.exists():
        return file
    try:
        answer = httpx.get(url, timeout=_SECONDS, follow_redirects=True).raise_for_status()
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_bytes(answer.content)
        partial.replace(file)
    except (httpx.HTTPError, OSError) as error:
        raise ProblemError(
            f"{name} could not be fetched ({error}): save {url} as {file}, and call this again"
        ) from error
    return file
