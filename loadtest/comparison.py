"""One arm held against another, request by request of the same questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.intervals import Interval, bootstrap
from loadtest.plan import PlanError
from loadtest.record import Record, conversations

Pair = tuple[Record, Record]


@dataclass(frozen=True)
class Comparison:
    """An arm against a baseline: so many pairs, and each figure that could be told of them.

    `counts` are the pairs that a figure was told of.
    """

    arm: str
    baseline: str
    pairs: int
    figures: Mapping[str, Interval]
    counts: Mapping[str, int]


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
    answered = (one for one in ours if one.ended == "answer")
    paired = [
        [(one, other[key]) for one in together if (key := (one.problem_id, one.turn)) in other]
        for together in conversations(sorted(answered, key=lambda one: (one.problem_id, one.turn)))
    ]
    told = {
        "accuracy_difference": ("correct", _difference),
        "thinking_tokens_saved": ("thinking_tokens", _saved),
        "completion_tokens_saved": ("completion_tokens", _saved),
        "latency_saved": ("latency", _saved),
    }
    figures: dict[str, Interval] = {}
    counts: dict[str, int] = {}
    for name, (field, figure) in told.items():
        groups = [values for pairs in paired if (values := _values(pairs, field))]
        if groups and (found := figure(groups)):
            figures[name], counts[name] = found, sum(map(len, groups))
    return Comparison(arm, baseline, sum(map(len, paired)), figures, counts) if figures else None


def _values(pairs: Sequence[Pair], field: str) -> list[tuple[float, float]]:
    """Both sides' values of a field, ours first, where both have one; times not of slow readers."""
    return [
        (float(mine), float(base))
        for one, two in pairs
        if (mine := getattr(one, field)) is not None
        and (base := getattr(two, field)) is not None
        and not (field == "latency" and "slow" in (one.client, two.client))
    ]


def _difference(groups: Sequence[Sequence[tuple[float, float]]]) -> Interval:
    """Of means. Two pairs more, one won and one lost, give few disagreements their width.

    That is the adjustment of Bonett and Price (2012), doi 10.3102/1076998611411915.
    """
    rows = [(sum(ours - base for ours, base in group), len(group)) for group in groups]
    return bootstrap(rows, lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), ((1, 1), (-1, 1)))


def _saved(groups: Sequence[Sequence[tuple[float, float]]]) -> Interval | None:
    """The share of theirs that ours is less by; None where theirs is nothing."""
    rows = [[sum(column) for column in zip(*group, strict=True)] for group in groups]
    if not sum(base for _, base in rows):
        return None
    return bootstrap(rows, lambda rows: 1 - rows[:, 0].sum() / rows[:, 1].sum())
