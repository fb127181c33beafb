"""A load test's report as one self-contained page: its table, and plots of its distributions."""

from collections.abc import Sequence
from html import escape

from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.report import Report

_WIDTH, _HEIGHT, _LEFT, _FOOT = 640, 260, 44, 36
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#65a30d", "#db2777")
_PLOTS = (("latency", "latency, s"), ("ttft", "TTFT, s"), ("thinking_tokens", "thinking tokens"))

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load test</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; }}
svg {{ width: 100%; max-width: 40rem; height: auto; }}
text {{ fill: currentColor; font: 12px system-ui, sans-serif; }}
</style>
<h1>Load test</h1>
<p>{target}: {requests} requests, {arrivals} arrivals, seed {seed}. Brackets are 95 % intervals;
times count from when a request was due.</p>
<pre>{table}</pre>
{plots}
</html>"""


def page(report: Report) -> str:
    """HTML without anything external; what nothing was measured of has no plot."""
    plan, records = report.plan, report.records
    plots = [_plot(plan, records, name, title) for name, title in _PLOTS]
    return _PAGE.format(
        target=escape(plan.url),
        requests=len(records),
        arrivals=plan.arrivals.kind,
        seed=plan.seed,
        table=escape(report.markdown()),
        plots="\n".join(plot for plot in plots if plot),
    )


def _plot(plan: Plan, records: Sequence[Record], name: str, title: str) -> str:
    """The share of requests at or below each value, a line an arm."""
    found = {
        arm.name: sorted(
            value
            for record in records
            if record.arm == arm.name
            and record.ended == "answer"
            and (value := getattr(record, name)) is not None
        )
        for arm in plan.arms
    }
    most = max((values[-1] for values in found.values() if values), default=0)
    if not most:
        return ""
    parts = [_axis(most)]
    for place, (arm, values) in enumerate(found.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        points = " ".join(
            f"{_x(value, most):.1f},{_y((rank + 1) / len(values)):.1f}"
            for rank, value in enumerate(values)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        y = 16 + 15 * place
        parts.append(
            f'<rect x="{_WIDTH - 150}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
        )
        parts.append(f'<text x="{_WIDTH - 134}" y="{y}">{escape(arm)}</text>')
    label = f"share of requests by {title}"
    return (
        f"<h2>{label}</h2>\n"
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _axis(most: float) -> str:
    parts = [
        f'<line x1="{_LEFT}" y1="{_y(share):.1f}" x2="{_WIDTH - 160}" y2="{_y(share):.1f}" '
        f'stroke="currentColor" opacity="0.2"/>'
        f'<text x="{_LEFT - 6}" y="{_y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.5, 0.9, 1)
    ]
    parts += [
        f'<text x="{_x(most * share, most):.1f}" y="{_HEIGHT - 14}" text-anchor="middle">'
        f"{most * share:.3g}</text>"
        for share in (0, 0.5, 1)
    ]
    return "".join(parts)


def _x(value: float, most: float) -> float:
    return _LEFT + value / most * (_WIDTH - 160 - _LEFT)


def _y(share: float) -> float:
    return 8 + (1 - share) * (_HEIGHT - _FOOT - 8)
