"""The table of a load test: a row an arm, intervals at 95 %, and auto held against high."""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from math import sqrt
from typing import Any

import numpy as np

from loadtest.client import Record
from loadtest.plan import Plan, Slo

_RESAMPLES = 2000
_Z = 1.959964
_SLACK = 4
_BASELINE, _TREATED = "high", "auto"


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(values: Sequence[Sequence[float]], figure: Callable[[Any], Any]) -> Interval:
    """The figure of rows (N, K), and its percentile interval over resampled rows.

    `figure` maps an array (..., N, K) to (...): it sees all resamples at once.
    """
    rows = np.asarray(values, dtype=float)
    picks = np.random.default_rng(0).integers(0, len(rows), (_RESAMPLES, len(rows)))
    low, high = np.percentile(figure(rows[picks]), [2.5, 97.5])
    return Interval(float(figure(rows)), float(low), float(high))


def wilson(hits: int, n: int) -> Interval:
    """A share with its 95 % Wilson score interval, which has a width at 0 and 100 % too."""
    share, z2 = hits / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def summarise(records: Sequence[Record], arm: str) -> dict[str, Any]:
    """Counts, accuracy, tokens and times of one arm; times in milliseconds."""
    ours = [record for record in records if record.arm == arm]
    good = [record for record in ours if record.error is None]
    summary: dict[str, Any] = {
        "arm": arm,
        "requests": len(ours),
        "errors": dict(Counter(record.error for record in ours if record.error)),
        "efforts": dict(Counter(record.effort or "" for record in good)),
        "unanswered": sum(not record.answered for record in good),
        "violations": sum(_violates(record) for record in good),
        "hits": sum(bool(record.budget_hit) for record in good),
        "false_hits": sum(_misreports(record) for record in good),
    }
    if good:
        summary["accuracy"] = asdict(wilson(sum(record.correct for record in good), len(good)))
        summary["latency_ms"] = _percentiles([record.latency for record in good])
        summary["late_ms"] = _percentiles([record.late for record in good])
    columns = {
        "thinking_tokens": [r.thinking_tokens for r in good if r.thinking_tokens is not None],
        "completion_tokens": [r.completion_tokens for r in good if r.completion_tokens is not None],
    }
    summary |= {
        name: _mean([[value] for value in found]) for name, found in columns.items() if found
    }
    for name in ("ttft", "tpot"):
        if told := [value for record in good if (value := getattr(record, name)) is not None]:
            summary[f"{name}_ms"] = _percentiles(told)
    return summary


def goodput(slo: Slo, records: Sequence[Record], arm: str) -> dict[str, Any]:
    """The requests of an arm that kept to the SLO: their share, and how many a second.

    What was not answered, or did not tell what is asked for, did not keep to it. A second is one of
    the whole run, from the first request that was due to the last that ended.
    """
    ours = [record for record in records if record.arm == arm]
    kept = sum(_keeps(slo, record) for record in ours)
    seconds = max(r.at + r.latency for r in records) - min(r.at for r in records)
    return {"share": asdict(wilson(kept, len(ours))), "per_second": kept / seconds}


def as_csv(records: Sequence[Record]) -> str:
    """The raw records, a row each."""
    out = StringIO()
    writer = csv.DictWriter(out, [*(field.name for field in fields(Record)), "tpot"])
    writer.writeheader()
    writer.writerows({**asdict(record), "tpot": record.tpot} for record in records)
    return out.getvalue()


def compare(records: Sequence[Record]) -> dict[str, Any] | None:
    """Auto against high, paired by problem; None where the plan has not both."""
    arms = {
        arm: {r.problem_id: r for r in records if r.arm == arm and r.thinking_tokens is not None}
        for arm in (_TREATED, _BASELINE)
    }
    both = sorted(arms[_TREATED].keys() & arms[_BASELINE].keys())
    if not both:
        return None
    pairs = [(arms[_TREATED][one], arms[_BASELINE][one]) for one in both]
    accuracy = [[float(ours.correct), float(base.correct)] for ours, base in pairs]
    tokens = [[ours.thinking_tokens or 0, base.thinking_tokens or 0] for ours, base in pairs]
    return {
        "accuracy_difference": asdict(
            bootstrap(accuracy, lambda rows: (rows[..., 0] - rows[..., 1]).mean(-1))
        ),
        "thinking_tokens_saved": asdict(
            bootstrap(tokens, lambda rows: 1 - rows[..., 0].sum(-1) / rows[..., 1].sum(-1))
        ),
    }


def render(plan: Plan, records: Sequence[Record]) -> str:
    """The report as Markdown."""
    rows = [summarise(records, arm.name) for arm in plan.arms]
    budgets = any(arm.budget for arm in plan.arms)
    lines = _budget_table(rows) if budgets else _effort_table(rows)
    for row in rows:
        if row["errors"]:
            told = ", ".join(f"{kind} x {count}" for kind, count in row["errors"].items())
            lines += ["", f"errors of {row['arm']}: {told}"]
    if plan.slo:
        asked = plan.slo.model_dump(exclude_none=True)
        within = ", ".join(
            f"{name.removesuffix('_ms')} {most:g} ms" for name, most in asked.items()
        )
        for row in rows:
            good = goodput(plan.slo, records, row["arm"])
            lines += [
                "",
                f"goodput of {row['arm']} within {within}: {good['per_second']:.2f} requests/s, "
                f"{_shown(good['share'], 100)} % of them",
            ]
    difference = None if budgets else compare(records)
    if difference:
        accuracy, saved = difference["accuracy_difference"], difference["thinking_tokens_saved"]
        lines += [
            "",
            f"{_TREATED} against {_BASELINE}, paired by problem: {100 * saved['value']:.1f} % "
            f"fewer thinking tokens [{100 * saved['low']:.1f}, {100 * saved['high']:.1f}], "
            f"accuracy {100 * accuracy['value']:+.1f} points "
            f"[{100 * accuracy['low']:+.1f}, {100 * accuracy['high']:+.1f}]",
        ]
    return "\n".join(lines)


def as_json(plan: Plan, records: Sequence[Record]) -> dict[str, Any]:
    """Everything: the plan, the summaries, the comparison and the raw records."""
    return {
        "plan": plan.model_dump(mode="json"),
        "arms": [summarise(records, arm.name) for arm in plan.arms],
        "goodput": {arm.name: goodput(plan.slo, records, arm.name) for arm in plan.arms}
        if plan.slo
        else None,
        "comparison": compare(records),
        "records": [asdict(record) for record in records],
    }


def _effort_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| arm | requests | errors | accuracy % | thinking tokens | latency p50 / p99 ms "
        "| TTFT p50 / p99 ms | efforts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row["arm"], str(row["requests"]), str(sum(row["errors"].values()))]
        for name, scale in (("accuracy", 100), ("thinking_tokens", 1)):
            cells.append(_shown(row[name], scale) if name in row else "-")
        cells += [
            " / ".join(f"{t:.0f}" for t in row[name]) if name in row else "-"
            for name in ("latency_ms", "ttft_ms")
        ]
        share = sorted(row["efforts"].items(), key=lambda item: -item[1])
        cells.append(", ".join(f"{effort or 'not told'} {count}" for effort, count in share))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _budget_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = ("requests", "violations", "hits", "false_hits", "unanswered")
    lines = [
        "| arm | requests | violations | hits | hits told wrongly | no answer | errors |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row["arm"], *(str(row[name]) for name in names), str(sum(row["errors"].values()))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _keeps(slo: Slo, record: Record) -> bool:
    """Whether a request was answered, and within every limit of the SLO."""
    measured = {"ttft_ms": record.ttft, "tpot_ms": record.tpot, "latency_ms": record.latency}
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


def _mean(rows: Sequence[Sequence[float]]) -> dict[str, float]:
    return asdict(bootstrap(rows, lambda values: values[..., 0].mean(-1)))


def _percentiles(seconds: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(np.asarray(seconds) * 1000, [50, 99])]


def _shown(figure: dict[str, float], scale: float) -> str:
    value, low, high = (scale * figure[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
