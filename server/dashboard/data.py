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
"""Time ranges by name, in seconds."""

_DECISION_COLUMNS = (
    "at", "request_id", "model", "key", "arm", "effort", "source", "reason", "budget", "budget_hit",
    "thinking_tokens", "baseline_tokens", "seconds", "status",
)  # fmt: skip
_BINS = 60
_LATEST = 25
_MAX_ROWS = 200_000
_MIN_CACHE_SECONDS = 4.0
_CACHE_FACTOR = 10.0
"""Data is cached for this many times the time that reading took: a tenth of the load at most."""


@dataclass
class _Cached:
    valid_until: float
    data: dict[str, Any]


class DashboardData:
    """Reads and caches the dashboard's data.

    `read` blocks: call it in a thread. Calls wait for each other.
    """

    def __init__(self, engine: Engine, price: float | None) -> None:
        self._engine = engine
        self._price = price
        self._cache: dict[tuple[str, str | None], _Cached] = {}
        self._lock = Lock()

    def read(self, name: str, key: str | None) -> dict[str, Any]:
        """The data of a range in RANGES: the requests of one API key, None for all.

        Raises:
            LedgerDown: the ledger cannot be read now.
        """
        with self._lock:
            cached = self._cache.get((name, key))
            start = time.monotonic()
            if cached is None or start > cached.valid_until:
                data = self._compute(RANGES[name], key)
                end = time.monotonic()
                lifetime = max(_MIN_CACHE_SECONDS, _CACHE_FACTOR * (end - start))
                cached = self._cache[name, key] = _Cached(end + lifetime, data)
            return cached.data

    def _compute(self, seconds: float, key: str | None) -> dict[str, Any]:
        now = time.time()
        mine, recent = Selection(key=key), Selection(since=now - seconds, key=key)
        rows = comparable(self._engine, recent, _MAX_ROWS)
        summary = report(rows, counts(self._engine, recent), self._price)
        width = seconds / _BINS
        return {
            "key": key,
            "requests": summary["requests"],
            "savings": summary["savings"],
            "accuracy": summary["accuracy"],
            "by_effort": summary["by"]["effort"],
            "by_kind": summary["by"]["kind"],
            "rows": {"read": len(rows["at"]), "most": _MAX_ROWS},
            "timeline": _timeline(tallies(self._engine, recent, width), now - seconds, width),
            "latest": [_decision(row) for row in latest(self._engine, _LATEST, mine)],
        }


def _timeline(rows: Sequence[Row], begin: float, width: float) -> dict[str, Any]:
    """Requests, thinking tokens and budget hits of each bin, requests by effort."""
    offset = int(begin // width) + 1
    efforts: dict[int, Counter[str]] = {}
    thinking: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    for row in rows:
        index = int(row["bin"]) - offset
        efforts.setdefault(index, Counter())[row["effort"]] += row["requests"]
        thinking[index] += int(row["thinking"] or 0)
        hits[index] += int(row["hits"] or 0)
    return {
        "begin": offset * width,
        "bin_seconds": width,
        "efforts": [dict(efforts.get(index, {})) for index in range(_BINS)],
        "thinking_tokens": [thinking[index] for index in range(_BINS)],
        "budget_hits": [hits[index] for index in range(_BINS)],
    }


def _decision(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _DECISION_COLUMNS}
