"""A recipe's problems: read from every kind of source, without repeats and contamination.

Broken lines, rows without what is needed and answers that cannot be judged are left out and
counted; a file with too many of them is refused.
"""

import gzip
import importlib
import json
import random
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from models.domain.problems import unique_stories
from models.outcomes.problem_sets import Problem, ProblemError
from models.outcomes.verify import last_boxed
from models.training.recipe import Data, Source

_LEVEL = re.compile(r"-?\d+(?:\.\d+)?")

Row = Mapping[str, Any]


class _Broken(Exception):  # noqa: N818 - reads as what it says
    """A row that makes no problem; the message says why, without what is in it."""


def load(
    sources: Sequence[Source],
    data: Data,
    counts: Counter[str],
    judgeable: Callable[[str], str | None],
) -> list[Problem]:
    """The problems of all sources, the first of each prompt.

    Args:
        sources: read in their order.
        data: has the share of broken rows that is still allowed.
        counts: is told how many were `read`, `broken`, `without_answer`, `unjudgeable` and
            `repeated`.
        judgeable: why an answer cannot be judged, if so.

    Raises:
        ProblemError: a source cannot be read, is mostly broken, or has no problem.
    """
    found: dict[str, Problem] = {}
    for number, source in enumerate(sources):
        for problem in _source(source, number, data.most_broken, counts, judgeable):
            key = _plain(problem.prompt)
            if key in found:
                counts["repeated"] += 1
            else:
                found[key] = problem
    ids = Counter(problem.problem_id for problem in found.values())
    if twice := [one for one, times in ids.items() if times > 1]:
        raise ProblemError(f"two different problems have the id {twice[0]}")
    return list(found.values())


def without_contamination(
    problems: Iterable[Problem], evaluation: Iterable[Problem], ngram: int, counts: Counter[str]
) -> list[Problem]:
    """The problems that share no prompt, nor `ngram` words in a row, with one of evaluation."""
    held = [_plain(problem.prompt) for problem in evaluation]
    whole = set(held)
    runs = {run for text in held for run in _runs(text, ngram)}
    kept: list[Problem] = []
    for problem in problems:
        text = _plain(problem.prompt)
        if text in whole or not runs.isdisjoint(_runs(text, ngram)):
            counts["contaminated"] += 1
        else:
            kept.append(problem)
    return kept


def _plain(prompt: str) -> str:
    return " ".join(re.findall(r"\w+", prompt.casefold()))


def _runs(text: str, ngram: int) -> Iterator[str]:
    words = text.split()
    if ngram:
        for first in range(len(words) - ngram + 1):
            yield " ".join(words[first : first + ngram])


def _source(
    source: Source,
    number: int,
    most_broken: float,
    counts: Counter[str],
    judgeable: Callable[[str], str | None],
) -> Iterator[Problem]:
    if source.stories is not None:
        told = source.stories
        for story in islice(unique_stories(told.seed, told.split, *told.steps), told.n):
            counts["read"] += 1
            yield Problem(story.problem_id, story.prompt, story.answer, story.difficulty)
        return
    name = str(source.path or source.dataset)
    rows = list(_lines(source.path)) if source.path is not None else _dataset(source)
    order = list(range(len(rows)))
    if source.limit is not None:
        random.Random(0).shuffle(order)
    broken: list[str] = []
    made: list[Problem] = []
    for at in order:
        if source.limit is not None and len(made) >= source.limit:
            break
        row, line = rows[at], at + 1
        try:
            problem = _problem(row, source, f"{name}#{line}" if number == 0 else f"{number}#{line}")
        except _Broken as error:
            broken.append(f"line {line}: {error}")
            continue
        if problem is None:
            counts["without_answer"] += 1
        elif judgeable(problem.answer):
            counts["unjudgeable"] += 1
        else:
            made.append(problem)
    counts["read"] += len(made)
    counts["broken"] += len(broken)
    if len(broken) > most_broken * (len(made) + len(broken)):
        shown = "\n".join(f"  {one}" for one in broken[:5])
        raise ProblemError(
            f"{name}: {len(broken)} of {len(made) + len(broken)} rows are broken, and "
            f"data.most_broken allows {most_broken:.0%}:\n{shown}"
        )
    if broken:
        print(f"{name}: left out {len(broken)} broken rows, such as {broken[0]}", file=sys.stderr)
    if not made:
        raise ProblemError(f"{name} has no problem whose answer can be judged")
    yield from made


def _lines(file: Path) -> Iterator[Row | str]:
    """Each line's object, or why it has none."""
    try:
        raw = file.read_bytes()
        lines = (gzip.decompress(raw) if file.suffix == ".gz" else raw).split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{file} cannot be read: {error}") from error
    for line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        yield row if isinstance(row, dict) else "it is no JSON object"


def _dataset(source: Source) -> Sequence[Row]:
    datasets: Any = importlib.import_module("datasets")  # only in the extra [train]
    try:
        rows = datasets.load_dataset(source.dataset, source.config, split=source.split)
    except (OSError, ValueError, LookupError) as error:
        raise ProblemError(
            f"the data set {source.dataset} (split {source.split}) cannot be had: {error}"
        ) from error
    columns = source.columns
    needed = [columns.prompt, columns.answer]
    if missing := [name for name in needed if name not in rows.column_names]:
        raise ProblemError(
            f"{source.dataset} has no column {missing[0]}; it has {', '.join(rows.column_names)}"
        )
    return rows


def _problem(row: Row | str, source: Source, fallback: str) -> Problem | None:
    """The problem of a row; None where the source knows no answer to it."""
    if isinstance(row, str):
        raise _Broken(row)
    columns = source.columns
    for name in (columns.prompt, columns.answer):
        if not isinstance(row.get(name), str | int | float):
            raise _Broken(f"no column {name}; it has {', '.join(row)}")
    if str(row[columns.answer]).strip().lower() in source.no_answers:
        return None
    prompt = str(row[columns.prompt])
    if columns.options is not None and row.get(columns.options):
        prompt += "\n\n" + "\n".join(str(option) for option in row[columns.options])
    level = _LEVEL.search(str(row.get(columns.difficulty))) if columns.difficulty else None
    return Problem(
        str(row.get(columns.problem_id) or fallback) if columns.problem_id else fallback,
        prompt + source.ask,
        _answer(str(row[columns.answer]), source.answer_in),
        float(level[0]) if level else None,
    )


def _answer(text: str, where: str) -> str:
    if where == "after ####":
        found: str | None = text.rpartition("####")[2] if "####" in text else None
    elif where == "boxed":
        found = last_boxed(text)
    else:
        found = text
    if found is None or not found.strip():
        raise _Broken(f"no answer ({where})")
    return found.strip()
