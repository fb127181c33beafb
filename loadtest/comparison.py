"""One arm held against another, request by request of the same questions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.intervals import Interval, bootstrap
from loadtest.plan import PlanError
from loadtest.record import Record


def _difference(rows: Any) -> Any:
    return (rows[:, 0] - rows[:, 1]).mean()


def _saved(rows: Any) -> Any:
    return 1 - rows[:, 0].sum() / rows[:, 1].sum()


_FIGURES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "accuracy_difference": ("correct", _difference),
    "thinking_tokens_saved": ("thinking_tokens", _saved),
    "completion_tokens_saved": ("completion_tokens", _saved),
    "latency_saved": ("latency", _saved),
}
"""What is compared: the field of a record, and the figure of its pairs (N, 2), ours first."""


@dataclass(frozen=True)
class Comparison:
    """An arm against a baseline: so many pairs, and each figure that could be told of them."""

    arm: str
    baseline: str
    pairs: int
    figures: Mapping[str, Interval]


def compare(records: Sequence[Record], arm: str, baseline: str) -> Comparison | None:
    """An arm against another of the same run; None where they share no answered question."""
    ours = [record for record in records if record.arm == arm]
    return _compare(ours, [record for record in records if record.arm == baseline], arm, baseline)


def compare_runs(
    records: Sequence[Record], arm: str, before: Sequence[Record]
) -> Comparison | None:
    """An arm against the same of an earlier run, or against the only one of that run.

    Raises:
        PlanError: that run has several arms and none of this name.
    """
    arms = {record.arm for record in before}
    if arm not in arms and len(arms) > 1:
        raise PlanError(f"the baseline has no arm {arm}; it has {', '.join(sorted(arms))}")
    name = arm if arm in arms else next(iter(arms))
    ours = [record for record in records if record.arm == arm]
    theirs = [record for record in before if record.arm == name]
    return _compare(ours, theirs, arm, f"{name} before")


def _compare(
    ours: Sequence[Record], theirs: Sequence[Record], arm: str, baseline: str
) -> Comparison | None:
    other = {(one.problem_id, one.turn): one for one in theirs if one.ended == "answer"}
    pairs = [
        (one, other[key])
        for one in sorted(ours, key=lambda one: (one.problem_id, one.turn))
        if one.ended == "answer" and (key := (one.problem_id, one.turn)) in other
    ]
    figures: dict[str, Interval] = {}
    for name, (field, figure) in _FIGURES.items():
        rows = [
            (float(mine), float(base))
            for one, two in pairs
            if (mine := getattr(one, field)) is not None
            and (base := getattr(two, field)) is not None
        ]
        if rows and (field == "correct" or sum(base for _, base in rows)):
            figures[name] = bootstrap(rows, figure)
    return Comparison(arm, baseline, len(pairs), figures) if figures else None
