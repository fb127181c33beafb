"""The report of a load test: summaries of its arms, comparisons, and notes."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from io import StringIO
from typing import Any

from loadtest.comparison import Comparison, compare, compare_runs
from loadtest.intervals import Interval, percentile
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.summary import after_warmup, goodput, summarise
from loadtest.sweep_stages import Stage, read_stages, saturation
from loadtest.tables import Table, budget_table, effort_table, speed_table, sweep_table

_DERIVED_FIELDS = ("tpot", "itl", "answer_tokens")
_MAX_START_DELAY_SECONDS = 0.1


@dataclass(frozen=True)
class Report:
    """A run and its comparisons.

    Attributes:
        measured: the records after the warm-up, which all figures are of.
        notes: sentences on what was omitted or disturbed.
        run_notes: those of the run itself, without those of its comparisons.
    """

    plan: Plan
    records: Sequence[Record]
    measured: Sequence[Record]
    comparisons: Sequence[Comparison]
    notes: Sequence[str] = ()
    run_notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        plan: Plan,
        records: Sequence[Record],
        earlier: Sequence[Record] = (),
        notes: Sequence[str] = (),
    ) -> "Report":
        """Compare a run's arms with its plan's baseline, and with an earlier run's records.

        Raises:
            PlanError: the earlier run has no arm to compare with.
        """
        arms = [arm.name for arm in plan.arms]
        run_notes = notes
        measured = after_warmup(records, plan.warmup_seconds)
        earlier = after_warmup(earlier, plan.warmup_seconds)
        notes = [
            *notes,
            *_warmup_notes(plan, records, measured),
            *_start_delay_notes(measured),
            *_unknown_arm_notes(records, arms),
        ]
        comparisons: list[Comparison] = []
        for arm in arms:
            candidates: list[tuple[str, Comparison | None]] = []
            if plan.baseline and arm != plan.baseline:
                candidates.append((plan.baseline, compare(measured, arm, plan.baseline)))
            if earlier:
                candidates.append(("the earlier run", compare_runs(measured, arm, earlier)))
            for baseline, comparison in candidates:
                if comparison:
                    comparisons.append(comparison)
                else:
                    notes.append(f"{arm} and {baseline} have no answered problem in common")
        return cls(plan, records, measured, comparisons, notes, run_notes)

    def tables(self) -> list[Table]:
        """One row per arm: budgets where the plan has any, else accuracy and latencies; speed."""
        first = budget_table if any(arm.budget for arm in self.plan.arms) else effort_table
        speed = sweep_table(self.stages) if self.stages else speed_table(self.summaries)
        return [first(self.summaries), speed]

    def paragraphs(self) -> list[list[str]]:
        """What follows the tables, as lines: errors, comparisons, goodput, notes."""
        paragraphs: list[list[str]] = []
        for summary in self.summaries:
            if summary["errors"]:
                counts = ", ".join(f"{kind} x {count}" for kind, count in summary["errors"].items())
                messages = summary["messages"].items()
                examples = [f"- {kind}: {message}" for kind, message in messages]
                paragraphs.append([f"errors of {summary['arm']}: {counts}", *examples])
            ended = summary["ended"]
            planned = [
                f"{ended[kind]} {kind}" for kind in ("refused", "disconnected") if kind in ended
            ]
            if planned:
                paragraphs.append([f"{summary['arm']}, as planned: {', '.join(planned)}"])
        paragraphs += [[_comparison_text(comparison)] for comparison in self.comparisons]
        paragraphs += [[line] for line in self._goodput()]
        if self.stages:
            paragraphs.append([saturation(self.stages)])
        return paragraphs + [[note] for note in self.notes]

    def markdown(self) -> str:
        """The tables and the paragraphs as Markdown."""
        tables = [table.markdown() for table in self.tables()]
        blocks = [*tables, *("\n".join(lines) for lines in self.paragraphs())]
        return "\n\n".join(blocks)

    def as_json(self) -> dict[str, Any]:
        """The plan, the summaries, the comparisons, the notes and all records."""
        slo = self.plan.slo
        report = {
            "plan": self.plan.model_dump(mode="json"),
            "arms": self.summaries,
            "goodput": {
                arm.name: dict(
                    zip(("share", "per_second"), goodput(slo, self.measured, arm.name), strict=True)
                )
                for arm in self.plan.arms
            }
            if slo
            else None,
            "comparisons": [  # asdict would turn their intervals into plain dicts
                {**asdict(comparison), "figures": dict(comparison.figures)}
                for comparison in self.comparisons
            ],
            "stages": [asdict(stage) for stage in self.stages],
            "notes": list(self.notes),
            "run_notes": list(self.run_notes),
            "records": [_row(record) for record in self.records],
        }
        return json.loads(json.dumps(report, default=Interval.as_json))

    def as_csv(self) -> str:
        """All records, one row each."""
        out = StringIO()
        writer = csv.DictWriter(out, [*(field.name for field in fields(Record)), *_DERIVED_FIELDS])
        writer.writeheader()
        writer.writerows(_row(record) for record in self.records)
        return out.getvalue()

    @cached_property
    def summaries(self) -> list[dict[str, Any]]:
        """The summary of each arm; computed once, as its intervals take time."""
        return [summarise(self.measured, arm.name) for arm in self.plan.arms]

    @cached_property
    def stages(self) -> list[Stage]:
        """The stages of a sweep; empty for other plans."""
        return read_stages(self.plan, self.measured)

    def _goodput(self) -> list[str]:
        if not self.plan.slo or self.stages:
            return []
        limits = self.plan.slo.model_dump(exclude_none=True)
        slo = ", ".join(f"{name.removesuffix('_ms')} {ms:g} ms" for name, ms in limits.items())
        by_arm = {
            arm.name: goodput(self.plan.slo, self.measured, arm.name) for arm in self.plan.arms
        }
        return [
            f"goodput of {arm} within {slo}: {rate:.2f} requests/s, {share.text(100)} % of requests"
            for arm, (share, rate) in by_arm.items()
        ]


def _row(record: Record) -> dict[str, Any]:
    return {**asdict(record), **{name: getattr(record, name) for name in _DERIVED_FIELDS}}


def _warmup_notes(plan: Plan, records: Sequence[Record], measured: Sequence[Record]) -> list[str]:
    if not (omitted := len(records) - len(measured)):
        return []
    subset = "" if measured else ", and none came later: plan a longer run or a shorter warm-up"
    return [f"warm-up: {omitted} requests of the first {plan.warmup_seconds:g} s omitted{subset}"]


def _start_delay_notes(records: Sequence[Record]) -> list[str]:
    """A note where the load generator is too slow, since the latencies then include its delays."""
    delays = [record.start_delay for record in records]
    if not delays or (seconds := percentile(delays, 99).value) < _MAX_START_DELAY_SECONDS:
        return []
    return [
        f"the load generator is too slow for this load: requests were sent up to {seconds:.2f} s "
        "(p99) after their scheduled time, and all latencies include this delay"
    ]


def _unknown_arm_notes(records: Sequence[Record], arms: Sequence[str]) -> list[str]:
    unknown = Counter(record.arm for record in records if record.arm not in arms)
    return [f"the plan has no arm {arm}: {n} records omitted" for arm, n in unknown.items()]


def _comparison_text(comparison: Comparison) -> str:
    figures: list[str] = []
    for name, template, sign in (
        ("thinking_tokens_saved", "{} % fewer thinking tokens", ""),
        ("latency_saved", "{} % lower latency", ""),
        ("accuracy_difference", "accuracy {} points", "+"),
    ):
        if name in comparison.figures:
            count = comparison.counts[name]
            subset = "" if count == comparison.pairs else f" (of {count} pairs)"
            figures.append(template.format(comparison.figures[name].text(100, sign)) + subset)
    return (
        f"{comparison.arm} against {comparison.baseline}, {comparison.pairs} pairs: "
        f"{', '.join(figures)}"
    )
