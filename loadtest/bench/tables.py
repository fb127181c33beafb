"""The benchmark's Markdown tables: medians of the rounds, and ratios to the gateway."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from loadtest.bench.measurements import COLUMNS, Row


def results_table(results: Mapping[str, Sequence[Row]]) -> str:
    """The median of the rounds, one line per peer."""
    columns = (
        *("", "CPU ms per request", "CPU us per chunk, at 1,600 chunks/s"),
        *("CPU us per chunk, saturated", "chunks/s", "added TTFT p50 / p99 ms"),
        "added TTFT p50 / p99 ms at 50 requests/s",
    )
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join(['---'] * len(columns))} |"]
    for name, rounds in results.items():
        row = {
            column: statistics.median(row.get(column, np.nan) for row in rounds)
            for column in COLUMNS
        }
        open_loop = f"{row['open50']:.2f} / {row['open99']:.2f}" if "open50" in rounds[0] else ""
        lines.append(
            f"| {name} | {row['cpu_request']:.2f} | {row['cpu_paced']:.0f} "
            f"| {row['cpu_saturated']:.1f} | {row['rate']:,.0f} "
            f"| {row['ttft50']:.2f} / {row['ttft99']:.2f} | {open_loop} |"
        )
    return "\n".join(lines)


def ratio_table(results: Mapping[str, Sequence[Row]]) -> str:
    """The CPU of the opening peer relative to each other peer: the rounds' median, and each."""
    (name, rounds), *peers = results.items()
    lines = [
        f"| {name} relative to | CPU per request | CPU per paced chunk |",
        "| --- | --- | --- |",
    ]
    for peer_name, peer_rounds in peers:
        cells: list[str] = []
        for column in ("cpu_request", "cpu_paced"):
            pairs = zip(rounds, peer_rounds, strict=True)
            ratios = [row[column] / peer_row[column] for row, peer_row in pairs]
            each_round = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            cells.append(f"{statistics.median(ratios):.2f} ({each_round})")
        lines.append(f"| {peer_name} | {' | '.join(cells)} |")
    return "\n".join(lines)
