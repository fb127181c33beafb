"""What the requests of one arm came to: how they ended, accuracy, tokens, times."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from loadtest.intervals import Interval, bootstrap, percentile, share, wilson
from loadtest.plan import Slo
from loadtest.record import Record, conversations

PERCENTILES = (50, 90, 99)
_SLACK = 4


def summarise(records: Sequence[Record], arm: str) -> dict[str, Any]:
    """Counts, accuracy, tokens and times of one arm; times in milliseconds, by percentile.

    Times are those of clients that took their answer as it came.
    """
    ours = [record for record in records if record.arm == arm]
    good = [record for record in ours if record.ended == "answer"]
    summary: dict[str, Any] = {
        "arm": arm,
        "requests": len(ours),
        "ended": dict(Counter(record.ended for record in ours)),
        "errors": dict(Counter(record.error for record in ours if record.error)),
        "efforts": dict(Counter(record.effort or "" for record in good)),
        "messages": _first_messages(ours),
        "unanswered": sum(not record.answered for record in good),
        "violations": sum(_violates(record) for record in good),
        "hits": sum(bool(record.budget_hit) for record in good),
        "false_hits": sum(_misreports(record) for record in good),
    }
    together = conversations(good)
    if judged := _sums(together, "correct"):
        summary["accuracy"] = share(judged)
    for name in ("thinking_tokens", "answer_tokens", "completion_tokens"):
        if told := _sums(together, name):
            summary[name] = bootstrap(told, lambda rows: rows[:, 0].sum() / rows[:, 1].sum())
    for name in ("latency", "late", "ttft", "tpot"):
        if told := _told([one for one in good if one.client != "slow"], name):
            summary[f"{name}_ms"] = {
                f"p{percent}": percentile([1000 * value for value in told], percent)
                for percent in PERCENTILES
            }
    return summary


def goodput(slo: Slo, records: Sequence[Record], arm: str) -> tuple[Interval, float]:
    """The requests of an arm that kept to the SLO: their share, and how many a second.

    What was not answered, or did not tell what is asked for, did not keep to it; what the client
    itself left, took its time over, or was right to be refused, was not asked. A second is one of
    the whole run, from the first request that was due to the last that ended.
    """
    asked = [one for one in records if one.ended in ("answer", "error") and one.client != "slow"]
    ours = [one for one in asked if one.arm == arm]
    if not ours:
        return wilson(0, 1), 0.0
    kept = [
        (sum(_keeps(slo, record) for record in together), len(together))
        for together in conversations(ours)
    ]
    seconds = max(r.at + r.latency for r in asked) - min(r.at for r in asked)
    return share(kept), sum(hits for hits, _ in kept) / seconds


def _first_messages(records: Sequence[Record]) -> dict[str, str]:
    """By class of error, what the server said of the first of it."""
    found: dict[str, str] = {}
    for record in records:
        if record.error and record.message:
            found.setdefault(record.error, record.message)
    return found


def _told(records: Sequence[Record], name: str) -> list[float]:
    return [value for record in records if (value := getattr(record, name)) is not None]


def _sums(together: Sequence[Sequence[Record]], name: str) -> list[tuple[int, int]]:
    """The sum of a field in each conversation that tells it, and how often it does."""
    told = [_told(records, name) for records in together]
    return [(int(sum(values)), len(values)) for values in told if values]


def _keeps(slo: Slo, record: Record) -> bool:
    """Whether a request was answered, and within every limit of the SLO."""
    tpot = 0.0 if record.completion_tokens == 1 else record.tpot  # none comes after the first
    measured = {"ttft_ms": record.ttft, "tpot_ms": tpot, "latency_ms": record.latency}
    limits = slo.model_dump(exclude_none=True)
    return record.error is None and all(
        (seconds := measured[name]) is not None and 1000 * seconds <= most
        for name, most in limits.items()
    )


def _violates(record: Record) -> bool:
    return None not in (record.budget, record.thinking_tokens) and (
        (record.thinking_tokens or 0) > (record.budget or 0)
    )


def _misreports(record: Record) -> bool:
    """Whether `budget_hit` is not what the counts say; without thinking nothing can bind.

    An engine may stop a few tokens short of a budget.
    """
    if record.budget is None or record.effort == "none":
        return bool(record.budget_hit) and record.effort == "none"
    left = record.budget - (record.thinking_tokens or 0)
    return left > _SLACK if record.budget_hit else left <= 0
