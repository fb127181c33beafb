"""Judged generations of one model, from outcome files and from logs, checked row by row.

A broken row is skipped with a warning; sources with too many broken rows are refused. Knows
nothing of formats (`router.logs`), features or fitting.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from router.fitting.outcome import Outcome, natural, outcome_of
from router.fitting.outcome_tally import (
    WITHOUT_PROMPT,
    WITHOUT_TOKENS,
    OutcomeTally,
    refuse,
    warnings_of,
)
from router.logs.log_options import LogOptions
from router.logs.outcome_file import listed, problems_of
from router.logs.row import OutcomeError, Row, Skipped
from router.logs.source import kind_of, rows, sources

__all__ = ["Outcome", "OutcomeError", "OutcomeSet", "read_outcomes"]

_Key = tuple[str, str, str, int]


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
    tally = OutcomeTally()
    outcomes: dict[_Key, Outcome] = {}
    by_problem: dict[str, Outcome] = {}
    tasks: dict[_Key, str] = {}
    weights: set[str | None] = set()
    for location, fields in _rows(paths, model, options or LogOptions(), tally):
        try:
            outcome = outcome_of(fields, by_problem)
        except ValueError as error:
            tally.broken.append(f"{location}: {error}")
            continue
        tally.models[str(fields["model"])] += 1
        if model is not None and fields["model"] != model:
            continue
        if outcome is None:
            tally.reasons[WITHOUT_TOKENS] += 1
            continue
        if outcome.messages is None and not for_audit:
            tally.reasons[WITHOUT_PROMPT] += 1
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
        has_thinking = natural(fields, "thinking_tokens") is not None
        tally.thinking += has_thinking
        tally.completion += not has_thinking
    if for_audit:
        outcomes = _with_tasks(outcomes, tasks)
    tally.usable = len(outcomes)
    refuse(", ".join(map(str, paths)), model, tally)
    if len(weights) > 1:
        raise OutcomeError(f"the outcomes come from different weights: {listed(map(str, weights))}")
    return OutcomeSet(
        tuple(outcomes.values()),
        model or next(iter(tally.models)),
        weights.pop() if weights else None,
        warnings_of(tally),
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
