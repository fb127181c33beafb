"""Draws the results of the dashboard's queries as one image, without Grafana.

Run with: python docker/grafana/plot.py http://127.0.0.1:9090 panels.png [MINUTES]
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from matplotlib import dates
from matplotlib.figure import Figure

_COLUMNS = 3
_POINTS = 120


def series(prometheus: str, query: str, minutes: float) -> list[dict[str, Any]]:
    """The result of a range query over the last `minutes`, in Prometheus's JSON."""
    now = time.time()
    step = 60 * minutes / _POINTS
    expr = query.replace("$__rate_interval", "1m").replace("$model", ".*")
    span = {"query": expr, "start": now - 60 * minutes, "end": now, "step": step}
    response = httpx.get(f"{prometheus}/api/v1/query_range", params=span, timeout=30)
    response.raise_for_status()
    return response.json()["data"]["result"]


def main(prometheus: str, out: str, minutes: float = 10) -> None:
    """Draw every time series panel."""
    board = json.loads((Path(__file__).parent / "dashboards" / "tops.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(16, 2.9 * rows), layout="tight")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for target in panel["targets"]:
            for line in series(prometheus, target["expr"], minutes):
                times = [datetime.fromtimestamp(float(at), UTC) for at, _ in line["values"]]
                legend = target["legendFormat"]
                for name, label in line["metric"].items():
                    legend = legend.replace("{{" + name + "}}", label)
                axis.plot(times, [float(value) for _, value in line["values"]], label=legend)
        axis.set_title(panel["title"], fontsize=10)
        axis.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7, loc="best")
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    figure.savefig(out, dpi=70)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:4]))
