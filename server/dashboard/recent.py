"""Times, abstentions and ends of budgets, of the newest requests of a range."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row

from server.ledger.newest import MOST_ROWS, newest
from server.ledger.selection import Selection
from server.savings.abstentions import COLUMNS, abstentions

_COLUMNS = (
    "at",
    "status",
    "seconds",
    "ttft_seconds",
    "first_answer_seconds",
    *COLUMNS,
    "budget",
    "budget_source",
    "budget_hit",
)
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def recent(connection: Connection, since: float, key: str | None) -> dict[str, Any]:
    """What the dashboard tells of at most MOST_ROWS requests since a time, of one key or all.

    Times are in seconds, and those of answered requests.
    """
    rows = newest(connection, _COLUMNS, Selection(since=since, key=key))
    answered = [row for row in rows if row.status == 200]
    return {
        "requests": len(rows),
        "most": MOST_ROWS,
        "since": rows[-1].at if rows else None,
        "seconds": _quantiles([row.seconds for row in answered]),
        "ttft_seconds": _quantiles([row.ttft_seconds for row in answered]),
        "first_answer_seconds": _quantiles([row.first_answer_seconds for row in answered]),
        "abstentions": abstentions(rows),
        "budgets": _budgets(answered),
    }


def _quantiles(times: Sequence[float | None]) -> dict[str, Any] | None:
    known = [time for time in times if time is not None]
    if not known:
        return None
    values = np.quantile(known, [*_QUANTILES.values()])
    return dict(zip(_QUANTILES, values.tolist(), strict=True)) | {"requests": len(known)}


def _budgets(answered: Sequence[Row[Any]]) -> dict[str, Mapping[str, int]]:
    """By the source of the budget: answers with one, those it ended, those not known.

    Requests of older versions, whose budget's source is not known, are left out.
    """
    bounded = [row for row in answered if row.budget and row.budget_source]
    return {
        source: {
            "answers": sum(row.budget_source == source for row in bounded),
            "ended": sum(row.budget_source == source and row.budget_hit is True for row in bounded),
            "unknown": sum(
                row.budget_source == source and row.budget_hit is None for row in bounded
            ),
        }
        for source in _ranked(row.budget_source for row in bounded)
    }


def _ranked(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
