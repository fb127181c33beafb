"""Judged generations of one model, from outcome files and from logs, checked row by row.

A broken row is skipped with a warning; sources with too many broken rows are refused. Knows
nothing of formats (`router.logs`), features or fitting.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import cast

import orjson

from router.logs.log_options import LogOptions
from router.logs.outcome_file import problems_of, some
from router.logs.row import OutcomeError, Row, Skipped
from router.logs.source import kind_of, rows, sources

__all__ = ["Outcome", "OutcomeError", "OutcomeSet", "read_outcomes"]

_MAX_BROKEN_SHARE = 0.1
"""A set with a larger share of broken rows is refused."""
_MODELS_SHOWN = 50
_Key = tuple[str, str, str, int]
_WITHOUT_TOKENS = "rows without tokens"
_WITHOUT_PROMPT = "rows without a prompt"

_MISSING = ("", "nan", "na", "<na>", "none", "null")
"""What CSV files have for a missing number."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One judged generation; `tokens` are thinking tokens if recorded, else completion tokens.

    `correct` is 0 or 1, between them where a log gives partial credit. `messages`: a prompt or
    OpenAI messages, None where a log keeps none. `weights`: a hash. `kind`: of traffic.
    """

    problem_id: str
    messages: object
    model: str
    effort: str
    sample: int
    correct: float
    tokens: int
    weights: str | None
    kind: str | None = None


@dataclass(frozen=True)
class OutcomeSet:
    """The outcomes of one model, with warnings for the user and the number of skipped rows.

    `thinking`: whether every row's tokens are its thinking tokens.
    """

    outcomes: tuple[Outcome, ...]
    model: str
    weights: str | None
    warnings: tuple[str, ...]
    skipped: int
    thinking: bool = False


@dataclass
class _Tally(Skipped):
    """What was left out, and counts of the rows that are used."""

    duplicates: list[str] = field(default_factory=list[str])
    models: Counter[str] = field(default_factory=Counter[str])
    usable: int = 0
    thinking: int = 0
    completion: int = 0

    @property
    def skipped(self) -> int:
        return len(self.broken) + len(self.duplicates) + self.reasons.total()


def read_outcomes(
    paths: Sequence[str | Path],
    model: str | None = None,
    options: LogOptions | None = None,
    *,
    for_audit: bool = False,
) -> OutcomeSet:
    """Read the rows of `model` from files, folders and ledgers; None where they have one only.

    An audit needs no prompts, and takes the tasks of logs for kinds. Raises OutcomeError: an
    unreadable or truncated file, too many broken rows, several models or weights, no rows with
    tokens.
    """
    tally = _Tally()
    outcomes: dict[_Key, Outcome] = {}
    by_problem: dict[str, Outcome] = {}
    tasks: dict[_Key, str] = {}
    weights: set[str | None] = set()
    for location, fields in _rows(paths, model, options or LogOptions(), tally):
        try:
            outcome = _outcome(fields, by_problem)
        except ValueError as error:
            tally.broken.append(f"{location}: {error}")
            continue
        tally.models[str(fields["model"])] += 1
        if model is not None and fields["model"] != model:
            continue
        if outcome is None:
            tally.reasons[_WITHOUT_TOKENS] += 1
            continue
        if outcome.messages is None and not for_audit:
            tally.reasons[_WITHOUT_PROMPT] += 1
            continue
        key = (outcome.model, outcome.problem_id, outcome.effort, outcome.sample)
        if key in outcomes:
            tally.duplicates.append(f"{location}: {'/'.join(map(str, key[1:]))}")
        outcomes.setdefault(key, outcome)
        by_problem.setdefault(outcome.problem_id, outcome)
        if fields.get("task"):
            tasks[key] = str(fields["task"])
        if "score" not in fields:  # logs do not know the weights
            weights.add(outcome.weights)
        has_thinking = _natural(fields, "thinking_tokens") is not None
        tally.thinking += has_thinking
        tally.completion += not has_thinking
    if for_audit:
        outcomes = _with_tasks(outcomes, tasks)
    tally.usable = len(outcomes)
    _refuse(", ".join(map(str, paths)), model, tally)
    if len(weights) > 1:
        raise OutcomeError(f"the outcomes come from different weights: {some(map(str, weights))}")
    return OutcomeSet(
        tuple(outcomes.values()),
        model or next(iter(tally.models)),
        weights.pop() if weights else None,
        _warnings(tally),
        tally.skipped,
        thinking=not tally.completion,
    )


def _with_tasks(outcomes: dict[_Key, Outcome], tasks: dict[_Key, str]) -> dict[_Key, Outcome]:
    """The outcomes with their tasks as kinds, where there are several kinds or tasks."""
    kinds = {outcome.kind for outcome in outcomes.values()} - {None}
    if len(kinds | {*tasks.values()}) < 2:
        return outcomes
    return {
        key: replace(outcome, kind=outcome.kind or tasks.get(key))
        for key, outcome in outcomes.items()
    }


def _rows(
    paths: Sequence[str | Path], model: str | None, options: LogOptions, skipped: Skipped
) -> Iterator[tuple[str, Row]]:
    """The rows of all sources, with the prompts of the problems files among them."""
    every = list(sources(paths))
    problems: dict[str, Mapping[str, object]] = {}
    for source in every:
        if kind_of(source) == "problems":
            problems |= problems_of(source)
    names = _Names()
    for source in every:
        if kind_of(source) == "problems" and len(every) > 1:
            continue
        for location, fields in rows(source, model, options, skipped):
            row = names.unique(fields) if "generation" in fields else fields
            if problems and not (row.get("messages") or row.get("prompt")):
                row = {**row, **problems.get(str(row.get("problem_id")), {})}
            yield location, row


class _Names:
    """Names for the rows of evaluation logs, which several runs share or do not."""

    def __init__(self) -> None:
        self._questions: dict[str, dict[bytes, str]] = {}
        self._generations: dict[tuple[object, ...], dict[object, int]] = {}

    def unique(self, fields: Row) -> Row:
        """The row with a problem_id per question, and a sample number per generation.

        Runs may number their problems anew: an id with two questions is two problems.
        """
        problem = str(fields["problem_id"])
        question = orjson.dumps(fields.get("question"), default=str)
        digest = hashlib.blake2b(question, digest_size=16).digest()
        names = self._questions.setdefault(problem, {})
        name = names.setdefault(digest, f"{problem}#{len(names) + 1}" if names else problem)
        cell = (fields["model"], name, fields["effort"])
        samples = self._generations.setdefault(cell, {})
        sample = samples.setdefault(fields["generation"], len(samples))
        return {**fields, "problem_id": name, "sample": sample}


def _refuse(files: str, model: str | None, tally: _Tally) -> None:
    """Raise OutcomeError where the set as a whole cannot be used."""
    models = tally.models
    lines = models.total() + len(tally.broken)
    if len(tally.broken) > max(_MAX_BROKEN_SHARE * lines, 1) or (tally.broken and not models):
        raise OutcomeError(
            f"{files}: {len(tally.broken)} of {lines} lines are broken: {some(tally.broken)}"
        )
    if model is None and len(models) > 1:
        raise OutcomeError(
            f"{files}: rows of {len(models)} models; choose one with --model: "
            + some((name for name, _ in models.most_common()), _MODELS_SHOWN)
        )
    if model is not None and models and model not in models:
        raise OutcomeError(
            f"{files}: no rows of model {model!r}; there are: {some(models, _MODELS_SHOWN)}"
        )
    if not tally.usable:
        _explain_nothing(files, tally)


def _explain_nothing(files: str, tally: _Tally) -> None:
    """Raise OutcomeError for a set without a usable row."""
    if tally.reasons[_WITHOUT_PROMPT]:
        raise OutcomeError(
            f"{files}: no row has a prompt, and a router learns from prompts. The ledger keeps "
            "none: send problems with their problem_id as x-request-id and give a file with "
            "problem_id and prompt beside it, or fit to outcome files; tops audit needs no prompts"
        )
    if set(tally.reasons) == {_WITHOUT_TOKENS}:
        raise OutcomeError(f"{files}: no row has tokens")
    counts = "; ".join(f"{count} {reason}" for reason, count in tally.reasons.items() if count)
    raise OutcomeError(f"{files}: there are no outcomes" + (f" ({counts})" if counts else ""))


def _warnings(tally: _Tally) -> tuple[str, ...]:
    warnings: list[str] = []
    if tally.broken:
        warnings.append(f"{len(tally.broken)} broken lines skipped: {some(tally.broken)}")
    if tally.duplicates:
        warnings.append(
            f"{len(tally.duplicates)} repeated rows skipped, only the first of each is used: "
            f"{some(tally.duplicates)}"
        )
    warnings += [f"{count} {reason} skipped" for reason, count in tally.reasons.items() if count]
    warnings += [f"{count} {note}" for note, count in tally.notes.items()]
    if tally.thinking and tally.completion:
        warnings.append(
            f"{tally.completion} rows have no thinking_tokens, {tally.thinking} do: "
            "completion tokens are used instead"
        )
    return tuple(warnings)


def _outcome(fields: Row, by_problem: Mapping[str, Outcome]) -> Outcome | None:
    """The outcome of a row; None where it has no tokens. Raises ValueError for a broken row.

    It shares the prompt of a former one in `by_problem`.
    """
    problem, model, effort = (
        _text(fields, "problem_id"),
        _text(fields, "model"),
        _text(fields, "effort"),
    )
    prompt = fields.get("messages") or fields.get("prompt") or None
    if prompt is None and "score" not in fields:
        raise ValueError("neither prompt nor messages")
    if prompt is not None and not isinstance(prompt, str | list):
        raise ValueError("neither prompt nor messages")
    sample = _natural(fields, "sample")
    correct = _correct(fields)
    thinking = _natural(fields, "thinking_tokens")
    tokens = _natural(fields, "tokens") if thinking is None else thinking
    if tokens is None:
        return None
    weights = fields.get("weights")
    weights = weights if isinstance(weights, str) and weights else None
    kind = _text(fields, "kind") if fields.get("kind") not in (None, "") else None
    messages = cast("object", prompt)
    former = by_problem.get(problem)
    if former is not None and former.messages == messages:
        problem, messages = former.problem_id, former.messages
    effort, model = intern(effort), intern(model)
    return Outcome(problem, messages, model, effort, sample or 0, correct, tokens, weights, kind)


def _correct(fields: Row) -> float:
    """Whether a row is correct; a log's score, from 0 to 1. Raises ValueError."""
    score = fields.get("score")
    if isinstance(score, int | float):
        if not 0 <= score <= 1:
            raise ValueError(f"score {score} is not from 0 to 1")
        return float(score)
    correct = _natural(fields, "correct")
    if correct not in (0, 1):
        raise ValueError("field correct is not 0 or 1")
    return correct


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if type(value) is str and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"field {name} is missing or not text")
    return value


def _natural(fields: Mapping[str, object], name: str) -> int | None:
    """An integer of 0 or more; None where absent or null. Raises ValueError."""
    value = fields.get(name)
    if type(value) is int and value >= 0:
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
        return None
    try:
        number = float(cast("str | float", value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"field {name} is not a number: {str(value)[:40]!r}") from error
    if not math.isfinite(number) or number < 0 or number != int(number):
        raise ValueError(f"field {name} is not a whole number of 0 or more: {str(value)[:40]!r}")
    return int(number)
