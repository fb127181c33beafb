"""Line plots of a run: distributions per arm, and the course of the run over time."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from loadtest.intervals import percentile
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.summary import PERCENTILES

_DISTRIBUTIONS = (
    ("latency", "latency, s"),
    ("ttft", "TTFT, s"),
    ("tpot", "time per token, s"),
    ("thinking_tokens", "thinking tokens"),
)
_MAX_WINDOWS = 60
_RECORDS_PER_WINDOW = 10

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Named lines of (x, y) points, ascending in x."""

    title: str
    x_label: str
    lines: Mapping[str, Points]


def run_plots(plan: Plan, records: Sequence[Record]) -> list[Plot]:
    """All plots for which the records have data."""
    plots = [_distribution(plan, records, name, label) for name, label in _DISTRIBUTIONS]
    plots += _over_time(records)
    return [plot for plot in plots if any(plot.lines.values())]


def draw_svg(plot: Plot) -> bytes:
    """A plot as SVG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    figure = figures.Figure(figsize=(6.4, 2.9), layout="constrained")
    axes = figure.subplots()
    for name, points in plot.lines.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=name)
    axes.set_xlabel(plot.x_label)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    out = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _distribution(plan: Plan, records: Sequence[Record], name: str, label: str) -> Plot:
    """The share of an arm's answers at or below each value of a field."""
    values = {
        arm.name: sorted(
            value
            for record in _timed_answers(records)
            if record.arm == arm.name and (value := getattr(record, name)) is not None
        )
        for arm in plan.arms
    }
    lines = {
        arm: [(value, (rank + 1) / len(arm_values)) for rank, value in enumerate(arm_values)]
        for arm, arm_values in values.items()
    }
    return Plot(f"Share of requests by {label}", label, lines)


def _over_time(records: Sequence[Record]) -> Iterator[Plot]:
    """Latencies and rates, in windows of scheduled times."""
    if not records:
        return
    start = min(record.scheduled_at for record in records)
    seconds = max(record.scheduled_at for record in records) - start
    if not seconds:
        return
    count = min(_MAX_WINDOWS, max(len(records) // _RECORDS_PER_WINDOW, 1))
    width = seconds / count
    windows: dict[float, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.scheduled_at):
        index = min((record.scheduled_at - start) // width, count - 1)
        windows.setdefault((index + 0.5) * width, []).append(record)
    latencies = {
        middle: [record.latency for record in _timed_answers(window)]
        for middle, window in windows.items()
    }
    yield Plot(
        "Latency over time, s",
        "scheduled time in the run, s",
        {
            f"p{percent}": [
                (middle, percentile(values, percent).value)
                for middle, values in latencies.items()
                if values
            ]
            for percent in PERCENTILES
        },
    )
    yield Plot(
        "Requests per second over time",
        "scheduled time in the run, s",
        {
            "scheduled": [(middle, len(window) / width) for middle, window in windows.items()],
            **{
                f"{ended}s": [
                    (middle, sum(record.ended == ended for record in window) / width)
                    for middle, window in windows.items()
                ]
                for ended in ("answer", "error")
            },
        },
    )


def _timed_answers(records: Sequence[Record]) -> list[Record]:
    """Answers to clients that do not read slowly."""
    return [record for record in records if record.ended == "answer" and record.client != "slow"]
