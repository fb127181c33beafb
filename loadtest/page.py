"""A load test's report as one self-contained page: tables, distributions, and the run in time."""

from collections.abc import Iterator, Sequence
from html import escape

from loadtest.intervals import Interval, percentile
from loadtest.plan import Plan
from loadtest.plots import plot
from loadtest.record import Record
from loadtest.report import Report
from loadtest.summary import PERCENTILES, summarise

_PLOTS = (
    ("latency", "latency, s"),
    ("ttft", "TTFT, s"),
    ("tpot", "time per token, s"),
    ("thinking_tokens", "thinking tokens"),
)
_WINDOWS = 60

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load test</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ display: block; overflow-x: auto; margin: 1rem 0; }}
td, th {{ padding: 0 1rem 0 0; text-align: left; font-variant-numeric: tabular-nums; }}
figure {{ display: inline-block; width: min(100%, 31rem); margin: 0; }}
h2 {{ font-size: 1rem; }}
svg {{ width: 100%; height: auto; }}
text {{ fill: currentColor; font: 12px system-ui, sans-serif; }}
</style>
<h1>Load test</h1>
<p>{target}: {requests} requests, {arrivals} arrivals, seed {seed}. Brackets are 95 % intervals,
with a dash where too little was seen to tell; times count from when a request was due, and leave
out clients that read slowly.</p>
{told}
{times}
{plots}
</html>"""


def page(report: Report) -> str:
    """HTML without anything external; what nothing was measured of has no plot."""
    plan, records = report.plan, report.records
    plots = [_distribution(plan, records, name, title) for name, title in _PLOTS]
    plots += _in_time(records)
    return _PAGE.format(
        target=escape(plan.url),
        requests=len(records),
        arrivals=plan.arrivals.kind,
        seed=plan.seed,
        told=_told(report.markdown()),
        times=_times(plan, records),
        plots="\n".join(f"<figure>{drawn}</figure>" for drawn in plots if drawn),
    )


def _told(markdown: str) -> str:
    """The report's tables and sentences, as HTML; of Markdown it has nothing else."""
    parts: list[str] = []
    for block in filter(str.strip, markdown.split("\n\n")):
        head, *lines = escape(block.strip()).splitlines()
        if head.startswith("|"):
            rows = [_row("th", head), *(_row("td", line) for line in lines[1:])]
            parts.append(f"<table>{''.join(rows)}</table>")
        else:
            parts.append(f"<p>{'<br>'.join((head, *lines))}</p>")
    return "\n".join(parts)


def _row(cell: str, line: str) -> str:
    cells = line.strip().strip("|").split("|")
    return "<tr>" + "".join(f"<{cell}>{one.strip()}" for one in cells)


def _times(plan: Plan, records: Sequence[Record]) -> str:
    """A table of percentiles with their intervals, in milliseconds."""
    head = "".join(f"<th>p{percent}" for percent in PERCENTILES)
    rows = [f"<tr><th>milliseconds<th>arm{head}"]
    for arm in plan.arms:
        summary = summarise(records, arm.name)
        for name in ("latency_ms", "ttft_ms", "tpot_ms", "late_ms"):
            found: dict[str, Interval] = summary.get(name, {})
            cells = "".join(f"<td>{one.told()}" for one in found.values())
            if cells:
                rows.append(f"<tr><th>{name.removesuffix('_ms')}<td>{escape(arm.name)}{cells}")
    return f"<table>{''.join(rows)}</table>" if len(rows) > 1 else ""


def _distribution(plan: Plan, records: Sequence[Record], name: str, title: str) -> str:
    """The share of answers at or below each value, a line an arm."""
    found = {
        arm.name: sorted(
            value
            for record in records
            if record.arm == arm.name
            and record.ended == "answer"
            and record.client != "slow"
            and (value := getattr(record, name)) is not None
        )
        for arm in plan.arms
    }
    lines = {
        arm: [(value, (rank + 1) / len(values)) for rank, value in enumerate(values)]
        for arm, values in found.items()
    }
    return plot(f"share of requests by {title}", lines, (0, 0.5, 0.9, 1), "{:.0%}".format)


def _in_time(records: Sequence[Record]) -> Iterator[str]:
    """Latency, and what came and how it ended, by the second in which requests were due."""
    first = min(record.at for record in records)
    seconds = max(record.at for record in records) - first
    if not seconds:
        return
    count = min(_WINDOWS, max(len(records) // 10, 1))
    width = seconds / count
    windows: dict[float, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.at):
        window = min((record.at - first) // width, count - 1)  # the last due one is in the last
        windows.setdefault((window + 0.5) * width, []).append(record)
    latencies = {
        at: [one.latency for one in found if one.ended == "answer" and one.client != "slow"]
        for at, found in windows.items()
    }
    yield plot(
        "latency in s, by the second of the run in which it was due",
        {
            f"p{percent}": [
                (at, percentile(values, percent).value)
                for at, values in latencies.items()
                if values
            ]
            for percent in PERCENTILES
        },
    )
    yield plot(
        "requests per second, by the second of the run in which they were due",
        {
            "due": [(at, len(found) / width) for at, found in windows.items()],
            **{
                f"{ended}s": [
                    (at, sum(one.ended == ended for one in found) / width)
                    for at, found in windows.items()
                ]
                for ended in ("answer", "error")
            },
        },
    )
