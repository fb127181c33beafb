"""Tables as Markdown, and those of a report, with one row per arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.sweep_stages import Stage


@dataclass(frozen=True)
class Table:
    """Cells as text; every row has as many as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def effort_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """Accuracy, thinking tokens, latencies and efforts."""
    header = (
        *("arm", "requests", "errors", "accuracy %", "thinking tokens"),
        *("latency p50 / p99 ms", "TTFT p50 / p99 ms", "efforts"),
    )
    rows: list[list[str]] = []
    for summary in summaries:
        cells = [summary["arm"], str(summary["requests"]), str(sum(summary["errors"].values()))]
        for name, scale in (("accuracy", 100), ("thinking_tokens", 1)):
            cells.append(summary[name].text(scale) if name in summary else "-")
        cells += [_percentiles(summary, name) for name in ("latency_ms", "ttft_ms")]
        efforts = sorted(summary["efforts"].items(), key=lambda item: -item[1])
        cells.append(", ".join(f"{effort or 'unknown'} {count}" for effort, count in efforts))
        rows.append(cells)
    return Table(header, rows)


def speed_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """Rates that were reached, prompt tokens, and how the streams ran."""
    header = (
        *("arm", "requests/s", "tokens/s", "prompt tokens", "answer TTFT p50 / p99 ms"),
        *("ITL p50 / p99 ms", "longest gap p50 / p99 ms"),
    )
    rows: list[list[str]] = []
    for summary in summaries:
        cells = _rates(summary)
        prompt = summary.get("prompt_tokens")
        cells.append(f"{prompt.value:.1f}" if prompt else "-")
        cells += [
            _percentiles(summary, "answer_ttft_ms"),
            _percentiles(summary, "itl_ms", 1),
            _percentiles(summary, "longest_gap_ms"),
        ]
        rows.append([summary["arm"], *cells])
    return Table(header, rows)


def sweep_table(stages: Sequence[Stage]) -> Table:
    """Rates that were offered and reached, and latencies, by stage of a sweep."""
    header = (
        *("offered/s", "arm", "requests", "errors", "within SLO %", "requests/s", "tokens/s"),
        *("latency p50 / p99 ms", "TTFT p50 / p99 ms", "ITL p50 / p99 ms"),
    )
    rows = [
        [
            f"{stage.rate:.4g}",
            stage.arm,
            str(stage.summary["requests"]),
            str(sum(stage.summary["errors"].values())),
            stage.within_slo.text(100),
            *_rates(stage.summary),
            *(_percentiles(stage.summary, name) for name in ("latency_ms", "ttft_ms")),
            _percentiles(stage.summary, "itl_ms", 1),
        ]
        for stage in stages
    ]
    return Table(header, rows)


def budget_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """How budgets held: violations, hits, and hits that the server misreported."""
    names = ("requests", "violations", "hits", "false_hits", "unanswered")
    header = ("arm", "requests", "violations", "hits", "misreported hits", "no answer", "errors")
    rows = [
        [
            summary["arm"],
            *(str(summary[name]) for name in names),
            str(sum(summary["errors"].values())),
        ]
        for summary in summaries
    ]
    return Table(header, rows)


def _rates(summary: dict[str, Any]) -> list[str]:
    rates = [summary.get(f"{name}_per_second") for name in ("requests", "tokens")]
    return ["-" if rate is None else f"{rate:.2f}" for rate in rates]


def _percentiles(summary: dict[str, Any], name: str, decimals: int = 0) -> str:
    """The median and the 99th percentile, or a dash."""
    percentiles = [summary.get(name, {}).get(key) for key in ("p50", "p99")]
    return " / ".join(f"{p.value:.{decimals}f}" for p in percentiles if p) or "-"
