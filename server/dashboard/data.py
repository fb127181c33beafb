"""What the dashboard shows, read from the ledger; recomputed at most every few seconds."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Engine

from server.ledger.reader import Row, Selection, comparable, counts, latest, tallies
from server.savings.report import report

RANGES: Mapping[str, float] = {"1h": 3_600.0, "24h": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0}
"""What may be looked at, in seconds."""

_TOLD = (
    "at", "request_id", "model", "key", "arm", "effort", "source", "reason", "budget", "budget_hit",
    "thinking_tokens", "baseline_tokens", "seconds", "status",
)  # fmt: skip
_BINS = 60
_LATEST = 25
_MOST_ROWS = 200_000
_FRESH_SECONDS = 4.0
_REST = 10.0
"""Times as long as reading took, nothing is read again."""


@dataclass
class _Kept:
    good_until: float
    data: dict[str, Any]


class DashboardData:
    """One gateway's view of its ledger; `read` is for a thread, and calls take turns."""

    def __init__(self, engine: Engine, price: float | None) -> None:
        self._engine = engine
        self._price = price
        self._kept: dict[str, _Kept] = {}
        self._turn = Lock()

    def read(self, name: str) -> dict[str, Any]:
        """The data of a range in RANGES.

        Raises:
            LedgerDown: the ledger cannot be read now.
        """
        with self._turn:
            kept = self._kept.get(name)
            begun = time.monotonic()
            if kept is None or begun > kept.good_until:
                data = self._make(RANGES[name])
                took = time.monotonic() - begun
                kept = _Kept(begun + took + max(_FRESH_SECONDS, _REST * took), data)
                self._kept[name] = kept
            return kept.data

    def _make(self, seconds: float) -> dict[str, Any]:
        now = time.time()
        recent = Selection(since=now - seconds)
        rows = comparable(self._engine, recent, _MOST_ROWS)
        found = report(rows, counts(self._engine, recent), self._price)
        width = seconds / _BINS
        return {
            "requests": found["requests"],
            "savings": found["savings"],
            "accuracy": found["accuracy"],
            "by_effort": found["by"]["effort"],
            "rows": {"read": len(rows["at"]), "most": _MOST_ROWS},
            "timeline": _timeline(tallies(self._engine, recent, width), now - seconds, width),
            "latest": [_decision(row) for row in latest(self._engine, _LATEST)],
        }


def _timeline(tallied: Sequence[Row], begin: float, width: float) -> dict[str, Any]:
    """Requests, thinking tokens and budget hits of each bin, requests by effort."""
    first = int(begin // width) + 1
    efforts: dict[int, Counter[str]] = {}
    thinking: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    for row in tallied:
        place = int(row["bin"]) - first
        efforts.setdefault(place, Counter())[row["effort"]] += row["requests"]
        thinking[place] += int(row["thinking"] or 0)
        hits[place] += int(row["hits"] or 0)
    return {
        "begin": first * width,
        "bin_seconds": width,
        "efforts": [dict(efforts.get(place, {})) for place in range(_BINS)],
        "thinking_tokens": [thinking[place] for place in range(_BINS)],
        "budget_hits": [hits[place] for place in range(_BINS)],
    }


def _decision(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _TOLD}
