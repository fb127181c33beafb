"""The report of a load test: a row an arm, and what is held against what."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from typing import Any

from loadtest.comparison import Comparison, compare, compare_runs
from loadtest.intervals import Interval, percentile
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.summary import goodput, summarise

_DERIVED = ("tpot", "answer_tokens")
_LATE_SECONDS = 0.1


@dataclass(frozen=True)
class Report:
    """A run, with what it is to be held against; `notes` are sentences about what was left out.

    `run_notes` are those of the run itself, whatever it is held against.
    """

    plan: Plan
    records: Sequence[Record]
    comparisons: Sequence[Comparison]
    notes: Sequence[str] = ()
    run_notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        plan: Plan,
        records: Sequence[Record],
        before: Sequence[Record] = (),
        notes: Sequence[str] = (),
    ) -> "Report":
        """The report of a run, held against its plan's baseline and an earlier run's records.

        Raises:
            PlanError: the earlier run has not the arms to be held against.
        """
        arms = [arm.name for arm in plan.arms]
        run_notes = notes
        notes = [*notes, *_lateness(records), *_strangers(records, arms)]
        found: list[Comparison] = []
        for arm in arms:
            held: list[tuple[str, Comparison | None]] = []
            if plan.baseline and arm != plan.baseline:
                held.append((plan.baseline, compare(records, arm, plan.baseline)))
            if before:
                held.append(("the earlier run", compare_runs(records, arm, before)))
            for other, one in held:
                if one:
                    found.append(one)
                else:
                    notes.append(f"{arm} and {other} share no answered question")
        return cls(plan, records, found, notes, run_notes)

    def markdown(self) -> str:
        """Tables and sentences."""
        rows = [summarise(self.records, arm.name) for arm in self.plan.arms]
        budgets = any(arm.budget for arm in self.plan.arms)
        lines = _budget_table(rows) if budgets else _effort_table(rows)
        for row in rows:
            if row["errors"]:
                told = ", ".join(f"{kind} x {count}" for kind, count in row["errors"].items())
                lines += ["", f"errors of {row['arm']}: {told}"]
                lines += [f"- {kind}: {message}" for kind, message in row["messages"].items()]
            odd = {kind: row["ended"][kind] for kind in ("refused", "left") if kind in row["ended"]}
            if odd:
                told = ", ".join(f"{count} {kind}" for kind, count in odd.items())
                lines += ["", f"{row['arm']}, as the plan has it: {told}"]
        lines += [line for one in self.comparisons for line in ("", _compared(one))]
        lines += [line for one in self._goodput() for line in ("", one)]
        return "\n".join(lines + [line for note in self.notes for line in ("", note)])

    def as_json(self) -> dict[str, Any]:
        """Everything: the plan, the summaries, the comparisons and the raw records."""
        slo = self.plan.slo
        whole = {
            "plan": self.plan.model_dump(mode="json"),
            "arms": [summarise(self.records, arm.name) for arm in self.plan.arms],
            "goodput": {
                arm.name: dict(
                    zip(("share", "per_second"), goodput(slo, self.records, arm.name), strict=True)
                )
                for arm in self.plan.arms
            }
            if slo
            else None,
            "comparisons": [  # with their intervals whole, which asdict would take apart
                {**asdict(one), "figures": dict(one.figures)} for one in self.comparisons
            ],
            "notes": list(self.notes),
            "run_notes": list(self.run_notes),
            "records": [_row(record) for record in self.records],
        }
        return json.loads(json.dumps(whole, default=Interval.as_json))

    def as_csv(self) -> str:
        """The raw records, a row each."""
        out = StringIO()
        writer = csv.DictWriter(out, [*(field.name for field in fields(Record)), *_DERIVED])
        writer.writeheader()
        writer.writerows(_row(record) for record in self.records)
        return out.getvalue()

    def _goodput(self) -> list[str]:
        if not self.plan.slo:
            return []
        asked = self.plan.slo.model_dump(exclude_none=True)
        within = ", ".join(f"{name.removesuffix('_ms')} {ms:g} ms" for name, ms in asked.items())
        kept = {arm.name: goodput(self.plan.slo, self.records, arm.name) for arm in self.plan.arms}
        return [
            f"goodput of {arm} within {within}: {rate:.2f} requests/s, {share.told(100)} % of them"
            for arm, (share, rate) in kept.items()
        ]


def _row(record: Record) -> dict[str, Any]:
    return {**asdict(record), **{name: getattr(record, name) for name in _DERIVED}}


def _lateness(records: Sequence[Record]) -> list[str]:
    """A generator that cannot keep up measures itself too, and has to say so."""
    late = [record.late for record in records]
    if not late or (seconds := percentile(late, 99).value) < _LATE_SECONDS:
        return []
    return [
        f"this load generator could not keep up: p99 of what it sent went out {seconds:.2f} s "
        "after it was due, and all times include that"
    ]


def _strangers(records: Sequence[Record], arms: Sequence[str]) -> list[str]:
    strange = Counter(record.arm for record in records if record.arm not in arms)
    return [f"the plan has no arm {arm}: {n} records left out" for arm, n in strange.items()]


def _compared(one: Comparison) -> str:
    told: list[str] = []
    for name, what, sign in (
        ("thinking_tokens_saved", "{} % fewer thinking tokens", ""),
        ("latency_saved", "{} % less time", ""),
        ("accuracy_difference", "accuracy {} points", "+"),
    ):
        if name in one.figures:
            of = "" if one.counts[name] == one.pairs else f" (of {one.counts[name]} pairs)"
            told.append(what.format(one.figures[name].told(100, sign)) + of)
    return f"{one.arm} against {one.baseline}, {one.pairs} pairs: {', '.join(told)}"


def _effort_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| arm | requests | errors | accuracy % | thinking tokens | latency p50 / p99 ms "
        "| TTFT p50 / p99 ms | efforts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row["arm"], str(row["requests"]), str(sum(row["errors"].values()))]
        for name, scale in (("accuracy", 100), ("thinking_tokens", 1)):
            cells.append(row[name].told(scale) if name in row else "-")
        cells += [
            " / ".join(f"{row[name][one].value:.0f}" for one in ("p50", "p99"))
            if name in row
            else "-"
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
