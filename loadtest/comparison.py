"""Paired comparison of an arm with a baseline, request by request of the same problems."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.intervals import Interval, bootstrap
from loadtest.plan import PlanError
from loadtest.record import Record, group_by_conversation

Pair = tuple[Record, Record]
Values = Sequence[tuple[float, float]]
"""A field's value in the arm and in the baseline, for each pair of a conversation."""


@dataclass(frozen=True)
class Comparison:
    """An arm compared with a baseline.

    Attributes:
        pairs: requests that both arms answered.
        figures: by name; those without any pair are absent.
        counts: the pairs of each figure.
    """

    arm: str
    baseline: str
    pairs: int
    figures: Mapping[str, Interval]
    counts: Mapping[str, int]


def compare(records: Sequence[Record], arm: str, baseline: str) -> Comparison | None:
    """Compare two arms of a run; None where they have no answered problem in common."""
    arm_records = [record for record in records if record.arm == arm]
    baseline_records = [record for record in records if record.arm == baseline]
    return _compare(arm_records, baseline_records, arm, baseline)


def compare_runs(
    records: Sequence[Record], arm: str, earlier: Sequence[Record]
) -> Comparison | None:
    """Compare an arm with the same arm of an earlier run, or with that run's only arm.

    Raises:
        PlanError: the earlier run has several arms and none of this name.
    """
    arms = {record.arm for record in earlier}
    if arm not in arms and len(arms) > 1:
        raise PlanError(f"the baseline has no arm {arm}; it has {', '.join(sorted(arms))}")
    name = arm if arm in arms else next(iter(arms))
    arm_records = [record for record in records if record.arm == arm]
    earlier_records = [record for record in earlier if record.arm == name]
    return _compare(arm_records, earlier_records, arm, f"{name} before")


def _compare(
    arm_records: Sequence[Record], baseline_records: Sequence[Record], arm: str, baseline: str
) -> Comparison | None:
    answers = {_key(record): record for record in baseline_records if record.ended == "answer"}
    answered = sorted((record for record in arm_records if record.ended == "answer"), key=_key)
    paired = [
        [(record, answers[_key(record)]) for record in group if _key(record) in answers]
        for group in group_by_conversation(answered)
    ]
    figures: dict[str, Interval] = {}
    counts: dict[str, int] = {}
    for name, (field, statistic) in _FIGURES.items():
        groups = [values for pairs in paired if (values := _values(pairs, field))]
        if groups and (interval := statistic(groups)):
            figures[name], counts[name] = interval, sum(map(len, groups))
    return Comparison(arm, baseline, sum(map(len, paired)), figures, counts) if figures else None


def _key(record: Record) -> tuple[str, int]:
    return record.problem_id, record.turn


def _values(pairs: Sequence[Pair], field: str) -> list[tuple[float, float]]:
    """The field in both arms, where both have it; latencies of slow clients are left out."""
    return [
        (float(arm_value), float(baseline_value))
        for record, baseline in pairs
        if (arm_value := getattr(record, field)) is not None
        and (baseline_value := getattr(baseline, field)) is not None
        and not (field == "latency" and "slow" in (record.client, baseline.client))
    ]


def _difference(groups: Sequence[Values]) -> Interval:
    """Difference of means, with the adjustment of Bonett and Price (2012).

    Two pseudo pairs, a win and a loss, keep the interval from collapsing where few pairs disagree
    (doi 10.3102/1076998611411915).
    """
    rows = [(sum(arm - baseline for arm, baseline in group), len(group)) for group in groups]
    return bootstrap(rows, lambda sums: sums[0] / sums[1], ((1, 1), (-1, 1)))


def _saved(groups: Sequence[Values]) -> Interval | None:
    """The share of the baseline's sum that the arm saves; None where that sum is 0."""
    rows = [[sum(column) for column in zip(*group, strict=True)] for group in groups]
    if not sum(baseline for _, baseline in rows):
        return None
    return bootstrap(rows, lambda sums: 1 - sums[0] / sums[1])


_FIGURES: Mapping[str, tuple[str, Callable[[Sequence[Values]], Interval | None]]] = {
    "accuracy_difference": ("correct", _difference),
    "thinking_tokens_saved": ("thinking_tokens", _saved),
    "completion_tokens_saved": ("completion_tokens", _saved),
    "latency_saved": ("latency", _saved),
}
