"""What the dashboard shows, read from the ledger; recomputed at most every few seconds."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from server.dashboard.recent import recent
from server.dashboard.request_counts import request_counts
from server.dashboard.timeline import DIMENSIONS, SUMS, timeline
from server.ledger.newest import newest_time
from server.ledger.reader import Row, latest, reading, snapshot
from server.ledger.schema import LedgerDown
from server.ledger.selection import Selection
from server.ledger.summaries import CHUNK_ROWS, add_new
from server.ledger.totals import read_totals
from server.savings.evidence import gather_quickly
from server.savings.prices import Prices
from server.savings.report import report

RANGES: Mapping[str, float] = {"1h": 3_600.0, "24h": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0}
"""Time ranges by name, in seconds."""

_DECISION_COLUMNS = (
    "at", "request_id", "model", "key", "arm", "effort", "source", "reason", "budget", "budget_hit",
    "thinking_tokens", "baseline_tokens", "seconds", "ttft_seconds", "status",
)  # fmt: skip
_SLOTS = {3_600.0: (60, 60), 86_400.0: (3_600, 3_600), 604_800.0: (3_600, 10_800)}
_SLOTS[2_592_000.0] = (86_400, 86_400)
"""By range, the width of the slots that are read, and of the timeline's bins, in seconds."""

_GROUPS = ("kind", "routed", "model")
_LATEST = 25
_MOST_ROWS = 4_000
"""Requests that are read one by one, of each arm; of more, a part is read that is drawn by id."""

_CATCH_UP_SECONDS = 0.1
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

    def __init__(self, engine: Engine, prices: Prices | None) -> None:
        self._engine = engine
        self._prices = prices
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
                data = {"range": name, **self._compute(RANGES[name], key)}
                end = time.monotonic()
                lifetime = max(_MIN_CACHE_SECONDS, _CACHE_FACTOR * (end - start))
                cached = self._cache[name, key] = _Cached(end + lifetime, data)
            return cached.data

    def shortest(self, key: str | None) -> str:
        """The shortest range with a request of the key, of any for None; else the longest.

        Raises:
            LedgerDown: the ledger cannot be read now.
        """
        with reading(self._engine) as connection:
            newest = newest_time(connection, key)
        age = math.inf if newest is None else time.time() - newest
        return next((name for name, seconds in RANGES.items() if age < seconds), [*RANGES][-1])

    def _compute(self, seconds: float, key: str | None) -> dict[str, Any]:
        now = time.time()
        slot, width = _SLOTS[seconds]
        begin = (now - seconds) // width * width
        self._catch_up()
        with snapshot(self._engine) as connection:
            selection = Selection(since=begin, key=key)
            evidence = gather_quickly(connection, selection, _GROUPS, _MOST_ROWS)
            bins = read_totals(connection, selection, slot, DIMENSIONS, SUMS)
            newest = recent(connection, begin, key)
        summary = report(evidence, self._prices, ("effort", "kind"))
        return {
            "key": key,
            "requests": summary["requests"],
            "savings": summary["savings"],
            "accuracy": summary["accuracy"],
            "by_effort": summary["by"]["effort"],
            "by_kind": summary["by"]["kind"],
            "rows": {"read": evidence.requests, "most": evidence.requests + 1},
            "timeline": timeline(bins.accepted(), begin, width, now),
            "accounts": request_counts(evidence.totals),
            "recent": newest,
            "latest": [_decision(row) for row in latest(self._engine, _LATEST, Selection(key=key))],
        }

    def _catch_up(self) -> None:
        """Add what waits to the summaries, for a moment: a ledger of an older version has none."""
        until = time.monotonic() + _CATCH_UP_SECONDS
        try:
            while add_new(self._engine) > CHUNK_ROWS and time.monotonic() < until:
                pass
        except DBAPIError as error:
            raise LedgerDown(f"the ledger cannot be read: {error.orig}") from error


def _decision(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _DECISION_COLUMNS}
