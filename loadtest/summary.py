"""The summary of one arm: outcomes, accuracy, tokens, latencies and goodput."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from loadtest.intervals import Interval, bootstrap, percentile, share, wilson
from loadtest.plan import Slo
from loadtest.record import Record, group_by_conversation

PERCENTILES = (50, 90, 99)
_LATENCIES = ("latency", "start_delay", "ttft", "answer_ttft", "tpot", "itl", "longest_gap")
_TOLERANCE_TOKENS = 4
"""An engine may stop this many tokens before a budget."""


def after_warmup(records: Sequence[Record], seconds: float) -> list[Record]:
    """The records whose requests were scheduled `seconds` after the first one, or later."""
    start = min((record.scheduled_at for record in records), default=0.0)
    return [record for record in records if record.scheduled_at >= start + seconds]


def summarise(records: Sequence[Record], arm: str) -> dict[str, Any]:
    """Counts, accuracy, tokens, rates and latencies of an arm; latencies in ms by percentile.

    Rates are per second of the run; rates and latencies exclude slow clients.
    """
    arm_records = [record for record in records if record.arm == arm]
    answers = [record for record in arm_records if record.ended == "answer"]
    summary: dict[str, Any] = {
        "arm": arm,
        "requests": len(arm_records),
        "ended": dict(Counter(record.ended for record in arm_records)),
        "errors": dict(Counter(record.error for record in arm_records if record.error)),
        "efforts": dict(Counter(record.effort or "" for record in answers)),
        "messages": _example_messages(arm_records),
        "unanswered": sum(not record.answered for record in answers),
        "violations": sum(_violates_budget(record) for record in answers),
        "hits": sum(bool(record.budget_hit) for record in answers),
        "false_hits": sum(_misreports_hit(record) for record in answers),
    }
    timed = [record for record in answers if record.client != "slow"]
    if seconds := run_seconds(records):
        summary["requests_per_second"] = len(timed) / seconds
        summary["tokens_per_second"] = sum(_present(timed, "completion_tokens")) / seconds
    groups = group_by_conversation(answers)
    if judged := _group_sums(groups, "correct"):
        summary["accuracy"] = share(judged)
    for name in ("prompt_tokens", "thinking_tokens", "answer_tokens", "completion_tokens"):
        if sums := _group_sums(groups, name):
            summary[name] = bootstrap(sums, lambda sums: sums[0] / sums[1])
    for name in _LATENCIES:
        if values := _present(timed, name):
            summary[f"{name}_ms"] = {
                f"p{percent}": percentile([1000 * value for value in values], percent)
                for percent in PERCENTILES
            }
    return summary


def goodput(slo: Slo, records: Sequence[Record], arm: str) -> tuple[Interval, float]:
    """An arm's requests within the SLO: their share, and their number per second of the run.

    Errors, and answers without a value that the SLO limits, are not within it. Requests that the
    client abandoned, read slowly, or that were rightly refused do not count. The run lasts from
    its first scheduled time to its last end.
    """
    arm_records = [record for record in _counted(records) if record.arm == arm]
    if not arm_records:
        return wilson(0, 1), 0.0
    groups = [
        (sum(_within_slo(slo, record) for record in group), len(group))
        for group in group_by_conversation(arm_records)
    ]
    return share(groups), sum(hits for hits, _ in groups) / run_seconds(records)


def run_seconds(records: Sequence[Record]) -> float:
    """From the first scheduled time to the last end; 0 without any request that counts."""
    counted = _counted(records)
    start = min((record.scheduled_at for record in counted), default=0.0)
    return max((record.scheduled_at + record.latency for record in counted), default=start) - start


def _counted(records: Sequence[Record]) -> list[Record]:
    return [
        record
        for record in records
        if record.ended in ("answer", "error") and record.client != "slow"
    ]


def _example_messages(records: Sequence[Record]) -> dict[str, str]:
    """By class of error, the first message of the server."""
    examples: dict[str, str] = {}
    for record in records:
        if record.error and record.message:
            examples.setdefault(record.error, record.message)
    return examples


def _present(records: Sequence[Record], name: str) -> list[float]:
    return [value for record in records if (value := getattr(record, name)) is not None]


def _group_sums(groups: Sequence[Sequence[Record]], name: str) -> list[tuple[int, int]]:
    """The sum of a field and its count, for each conversation that has the field."""
    present = [_present(records, name) for records in groups]
    return [(int(sum(values)), len(values)) for values in present if values]


def _within_slo(slo: Slo, record: Record) -> bool:
    tpot = 0.0 if record.completion_tokens == 1 else record.tpot  # no token follows the only one
    measured = {"ttft_ms": record.ttft, "tpot_ms": tpot, "latency_ms": record.latency}
    limits = slo.model_dump(exclude_none=True)
    return record.error is None and all(
        (seconds := measured[name]) is not None and 1000 * seconds <= limit
        for name, limit in limits.items()
    )


def _violates_budget(record: Record) -> bool:
    return None not in (record.budget, record.thinking_tokens) and (
        (record.thinking_tokens or 0) > (record.budget or 0)
    )


def _misreports_hit(record: Record) -> bool:
    """Whether `budget_hit` contradicts the token counts; without thinking nothing can bind."""
    if record.budget is None or record.effort == "none":
        return bool(record.budget_hit) and record.effort == "none"
    remaining_tokens = record.budget - (record.thinking_tokens or 0)
    return remaining_tokens > _TOLERANCE_TOKENS if record.budget_hit else remaining_tokens <= 0
