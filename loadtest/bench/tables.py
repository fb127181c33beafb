"""The benchmark's tables: medians of the rounds, and ratios of CPU."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from loadtest.bench.measurements import COLUMNS, Row
from loadtest.tables import Table

_HEADER = (
    *("", "CPU ms per request", "CPU us per chunk, at 1,600 chunks/s"),
    *("CPU us per chunk, saturated", "chunks/s", "added TTFT p50 / p99 ms"),
    "added TTFT p50 / p99 ms at 50 requests/s",
)


def results_table(results: Mapping[str, Sequence[Row]]) -> Table:
    """The median of the rounds, one row per peer."""
    rows: list[list[str]] = []
    for name, rounds in results.items():
        median = {
            column: statistics.median(row.get(column, np.nan) for row in rounds)
            for column in COLUMNS
        }
        cells = [name, f"{median['cpu_request']:.2f}", f"{median['cpu_paced']:.0f}"]
        cells += [f"{median['cpu_saturated']:.1f}", f"{median['rate']:,.0f}"]
        cells.append(f"{median['ttft50']:.2f} / {median['ttft99']:.2f}")
        open_loop = f"{median['open50']:.2f} / {median['open99']:.2f}"
        rows.append([*cells, open_loop if "open50" in rounds[0] else ""])
    return Table(_HEADER, rows)


def ratio_table(results: Mapping[str, Sequence[Row]]) -> Table:
    """The CPU of the first peer relative to each other peer: the rounds' median, and each round."""
    (name, rounds), *peers = results.items()
    rows = [
        [peer_name, *(_ratios(rounds, peer_rounds, c) for c in ("cpu_request", "cpu_paced"))]
        for peer_name, peer_rounds in peers
    ]
    return Table((f"{name} relative to", "CPU per request", "CPU per paced chunk"), rows)


def _ratios(rounds: Sequence[Row], peer_rounds: Sequence[Row], column: str) -> str:
    pairs = zip(rounds, peer_rounds, strict=True)
    return median_and_each([row[column] / peer_row[column] for row, peer_row in pairs])


def median_and_each(ratios: Sequence[float]) -> str:
    """As 0.30 (0.35, 0.30, 0.25)."""
    each_round = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"{statistics.median(ratios):.2f} ({each_round})"
