"""The dashboard's panels as one picture, without Grafana: what their queries return.

python docker/grafana/plot.py http://127.0.0.1:9090 panels.png [MINUTES]
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl

mpl.use("Agg")
from matplotlib import dates, pyplot

_COLUMNS = 3
_POINTS = 120


def series(prometheus: str, query: str, minutes: float) -> list[dict[str, Any]]:
    """What a query returned over the last minutes, as Prometheus gives it."""
    now = time.time()
    step = 60 * minutes / _POINTS
    expr = query.replace("$__rate_interval", "1m").replace("$model", ".*")
    span = {"query": expr, "start": now - 60 * minutes, "end": now, "step": step}
    answer = httpx.get(f"{prometheus}/api/v1/query_range", params=span, timeout=30)
    answer.raise_for_status()
    return answer.json()["data"]["result"]


def main(prometheus: str, out: str, minutes: float = 10) -> None:
    """Draw every panel that shows a course over time."""
    board = json.loads((Path(__file__).parent / "dashboards" / "tops.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    rows = -(-len(panels) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(16, 2.9 * rows), squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for target in panel["targets"]:
            for one in series(prometheus, target["expr"], minutes):
                times = [datetime.fromtimestamp(float(at), UTC) for at, _ in one["values"]]
                legend = target["legendFormat"]
                for name, value in one["metric"].items():
                    legend = legend.replace("{{" + name + "}}", value)
                axis.plot(times, [float(value) for _, value in one["values"]], label=legend)
        axis.set_title(panel["title"], fontsize=10)
        axis.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7, loc="best")
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    figure.tight_layout()
    figure.savefig(out, dpi=70)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:4]))
