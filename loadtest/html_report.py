"""A load test's report as one self-contained HTML page, from `templates/report.html.jinja`."""

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from loadtest.plots import Plot, draw_svg, run_plots
from loadtest.report import Report
from loadtest.summary import PERCENTILES
from loadtest.tables import Table

_LATENCIES = {
    "latency": "latency",
    "start_delay": "start delay",
    "ttft": "TTFT",
    "answer_ttft": "answer TTFT",
    "tpot": "time per token",
    "itl": "ITL",
    "longest_gap": "longest gap",
}


def html_report(report: Report) -> str:
    """The page; without matplotlib it has a sentence in place of the plots."""
    environment = Environment(
        loader=PackageLoader("loadtest"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    plots = run_plots(report.plan, report.measured)
    try:
        images = [_image(plot) for plot in plots]
    except ImportError:
        images = None
    return environment.get_template("report.html.jinja").render(
        plan=report.plan,
        requests=len(report.records),
        tables=report.tables(),
        paragraphs=report.paragraphs(),
        latencies=_latency_table(report),
        plots=images,
    )


def _image(plot: Plot) -> dict[str, str]:
    return {"title": plot.title, "svg": base64.b64encode(draw_svg(plot)).decode()}


def _latency_table(report: Report) -> Table:
    """Percentiles with their intervals, in milliseconds."""
    header = ["milliseconds", "arm", *(f"p{percent}" for percent in PERCENTILES)]
    rows: list[list[str]] = []
    for summary in report.summaries:
        for name, label in _LATENCIES.items():
            if percentiles := summary.get(f"{name}_ms"):
                intervals = [interval.text() for interval in percentiles.values()]
                rows.append([label, summary["arm"], *intervals])
    return Table(header, rows)
