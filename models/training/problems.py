"""Reads a recipe's problems from every kind of source, without repeats and contamination.

Broken lines, rows without a needed column and answers that cannot be judged are left out and
counted. A file with too many of them is refused.
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
from typing import Any, cast

from models.domain.problems import KIND, retold_problems, unique_stories
from models.outcomes.check import Check, GymItem, ProgramTests, read_check
from models.outcomes.gym_problems import GymTask, gym_problems
from models.outcomes.problem_sets import Problem, ProblemError
from models.outcomes.verify import last_boxed
from models.training.choice_options import read_options
from models.training.recipe_data import Columns, Data, Source, Stories
from router.json_text import parse_json

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SHOWN_BROKEN = 5

Row = Mapping[str, Any]

Unjudgeable = Callable[[str, Check | None], str | None]
"""Why an answer, or a problem's own check of it, cannot be judged; None if it can."""


class _BrokenRowError(Exception):
    """A row that makes no problem; the message says why, without the row's content."""


def load(
    sources: Sequence[Source], data: Data, counts: Counter[str], unjudgeable: Unjudgeable
) -> list[Problem]:
    """The problems of all sources in order; of equal prompts, the first.

    Args:
        sources: read in their order.
        data: has the share of broken rows that is allowed.
        counts: gets `read`, `broken`, `without_answer`, `unjudgeable` and `repeated`.
        unjudgeable: decides which answers are left out.

    Raises:
        ProblemError: a source cannot be read, is mostly broken, or has no problem.
    """
    by_prompt: dict[str, Problem] = {}
    for index, source in enumerate(sources):
        for problem in _read_source(source, index, data.most_broken, counts, unjudgeable):
            key = normalised(problem.prompt)
            if key in by_prompt:
                counts["repeated"] += 1
            else:
                by_prompt[key] = problem
    ids = Counter(problem.problem_id for problem in by_prompt.values())
    if duplicates := [problem_id for problem_id, count in ids.items() if count > 1]:
        raise ProblemError(f"two different problems have the id {duplicates[0]}")
    return list(by_prompt.values())


def without_contamination(
    problems: Iterable[Problem], evaluation: Iterable[Problem], ngram: int, counts: Counter[str]
) -> list[Problem]:
    """The problems that share neither a prompt nor `ngram` consecutive words with `evaluation`."""
    prompts = {normalised(problem.prompt) for problem in evaluation}
    ngrams = {words for prompt in prompts for words in _ngrams(prompt, ngram)}
    clean: list[Problem] = []
    for problem in problems:
        prompt = normalised(problem.prompt)
        if prompt in prompts or not ngrams.isdisjoint(_ngrams(prompt, ngram)):
            counts["contaminated"] += 1
        else:
            clean.append(problem)
    return clean


def normalised(prompt: str) -> str:
    """The words of a prompt, by which equal ones are known."""
    return " ".join(re.findall(r"\w+", prompt.casefold()))


def _ngrams(text: str, length: int) -> Iterator[str]:
    words = text.split()
    if length:
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def _read_source(
    source: Source, index: int, most_broken: float, counts: Counter[str], unjudgeable: Unjudgeable
) -> Iterator[Problem]:
    """The problems of one source; `index` distinguishes the ids that it makes up."""
    if source.stories is not None:
        yield from _read_stories(source.stories, counts)
        return
    if gym := source.reasoning_gym:
        items = gym_problems([GymTask(gym.task, gym.n, gym.seed, gym.difficulty)])
        counts["read"] += len(items)
        yield from items
        return
    name = str(source.path or source.dataset)
    rows = list(read_lines(source.path)) if source.path is not None else _dataset(source)
    order = list(range(len(rows)))
    if source.limit is not None:
        random.Random(0).shuffle(order)
    broken: list[str] = []
    problems: list[Problem] = []
    for position in order:
        if source.limit is not None and len(problems) >= source.limit:
            break
        line = position + 1
        made_up_id = f"{name if index == 0 else index}#{line}"
        try:
            problem = _problem(rows[position], source, made_up_id)
        except _BrokenRowError as error:
            broken.append(f"line {line}: {error}")
            continue
        if problem is None:
            counts["without_answer"] += 1
        elif reason := unjudgeable(problem.answer, problem.check):
            counts["unjudgeable"] += 1
            if isinstance(problem.check, ProgramTests):
                raise ProblemError(f"{name}, line {line}: {reason}")
        else:
            problems.append(problem)
    counts["read"] += len(problems)
    counts["broken"] += len(broken)
    refuse_broken(name, broken, len(problems), most_broken)
    if not problems:
        raise ProblemError(f"{name} has no problem whose answer can be judged")
    yield from problems


def _read_stories(options: Stories, counts: Counter[str]) -> Iterator[Problem]:
    if options.retold:
        yield from _read_retold(options, counts)
        return
    stream = unique_stories(options.seed, options.split, *options.steps)
    for story in islice(stream, options.n):
        counts["read"] += 1
        yield Problem(story.problem_id, story.prompt, story.answer, story.difficulty)


def _read_retold(options: Stories, counts: Counter[str]) -> Iterator[Problem]:
    stream = retold_problems(options.seed, options.split, *options.steps)
    for retold in islice(stream, options.n):
        counts["read"] += 1
        yield Problem(
            retold.problem_id,
            retold.prompt,
            retold.answer,
            retold.difficulty,
            kind=KIND,
            system=retold.system,
        )


def refuse_broken(name: str, broken: Sequence[str], usable: int, most_broken: float) -> None:
    """Say which rows are broken.

    Raises:
        ProblemError: they are a larger share than `most_broken`.
    """
    rows = usable + len(broken)
    if len(broken) > most_broken * rows:
        shown = "\n".join(f"  {reason}" for reason in broken[:_SHOWN_BROKEN])
        raise ProblemError(
            f"{name}: {len(broken)} of {rows} rows are broken, and data.most_broken allows "
            f"{most_broken:.0%}:\n{shown}"
        )
    if broken:
        print(f"{name}: left out {len(broken)} broken rows, such as {broken[0]}", file=sys.stderr)


def read_lines(file: Path) -> Iterator[Row | str]:
    """Each line's object, or why the line has none; blank lines are left out.

    Raises:
        ProblemError: the file cannot be read.
    """
    try:
        raw = file.read_bytes()
        lines = (gzip.decompress(raw) if file.suffix == ".gz" else raw).split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ProblemError(f"{file} cannot be read: {error}") from error
    for line in lines:
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            if b"\\u" in line:  # a lone surrogate is no text of which there are tokens
                json.dumps(row, ensure_ascii=False).encode()
        except ValueError:
            row = None
        yield row if isinstance(row, dict) else "it is not a JSON object"


def _dataset(source: Source) -> Sequence[Row]:
    datasets: Any = importlib.import_module("datasets")  # only in the extra [train]
    try:
        rows = datasets.load_dataset(source.dataset, source.config, split=source.split)
    except (OSError, ValueError, LookupError) as error:
        raise ProblemError(
            f"the data set {source.dataset} (split {source.split}) cannot be loaded: {error}"
        ) from error
    columns = source.columns
    required = [columns.prompt, columns.tests or columns.answer]
    if missing := [name for name in required if name not in rows.column_names]:
        raise ProblemError(
            f"{source.dataset} has no column {missing[0]}; it has {', '.join(rows.column_names)}"
        )
    return rows


def _problem(row: Row | str, source: Source, made_up_id: str) -> Problem | None:
    """The problem of a row; None where the source has no answer to it."""
    if isinstance(row, str):
        raise _BrokenRowError(row)
    columns = source.columns
    if columns.tests is not None or row.get("tests") or row.get("reasoning_gym"):
        return _checked_problem(row, source, made_up_id)
    for name in (columns.prompt, columns.answer):
        if not isinstance(row.get(name), str | int | float):
            raise _BrokenRowError(f"no column {name}; it has {', '.join(row)}")
    if str(row[columns.answer]).strip().lower() in source.no_answers:
        return None
    prompt, gold = str(row[columns.prompt]), row[columns.answer]
    answer = _answer(str(gold), source.answer_in)
    if columns.options is not None and row.get(columns.options):
        try:
            options = read_options(row[columns.options])
            answer = options.gold(answer, type(gold) is int)
        except (TypeError, ValueError) as error:
            raise _BrokenRowError(str(error)) from error
        prompt += f"\n\n{options.listed}"
        row = {**row, "choices": options.texts}
    check = _check(row, prompt)
    problem_id, level = _id_and_level(row, columns, made_up_id)
    return Problem(problem_id, prompt + source.ask, answer, level, check=check)


def _checked_problem(row: Row, source: Source, made_up_id: str) -> Problem:
    columns = source.columns
    prompt, tests = row.get(columns.prompt), row.get(columns.tests or "tests")
    if not isinstance(prompt, str):
        raise _BrokenRowError(f"no column {columns.prompt}; it has {', '.join(row)}")
    if isinstance(tests, list):  # MBPP's own form
        tests = "\n".join(str(test) for test in cast("list[Any]", tests))
    item: Any = row.get("reasoning_gym")
    check = _check({"reasoning_gym": item} if item else {"tests": tests or ""}, prompt)
    kind = check.task if isinstance(check, GymItem) else None
    answer = row.get(columns.answer) if item else None
    problem_id, level = _id_and_level(row, columns, made_up_id)
    return Problem(
        problem_id, prompt + source.ask, str(answer or ""), level, kind=kind, check=check
    )


def _check(row: Row, prompt: str) -> Check | None:
    try:
        return read_check(row, prompt)
    except (TypeError, ValueError) as error:
        raise _BrokenRowError(str(error)) from error


def _id_and_level(row: Row, columns: Columns, made_up_id: str) -> tuple[str, float | None]:
    level = _NUMBER.search(str(row.get(columns.difficulty))) if columns.difficulty else None
    problem_id = (
        str(row.get(columns.problem_id) or made_up_id) if columns.problem_id else made_up_id
    )
    return problem_id, float(level[0]) if level else None


def _answer(text: str, answer_in: str) -> str:
    if answer_in == "after ####":
        answer: str | None = text.rpartition("####")[2] if "####" in text else None
    elif answer_in == "boxed":
        answer = last_boxed(text)
    else:
        answer = text
    if answer is None or not answer.strip():
        raise _BrokenRowError(f"no answer ({answer_in})")
    return answer.strip()
