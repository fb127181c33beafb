"""Counts that add up: each request of a range is compared, or left out for one reason."""

from collections import Counter
from typing import Any

from server.ledger.totals import Totals
from server.lifecycle.tracker import CLIENT_CLOSED_REQUEST

_REASONS = (
    "chosen", "explored", "no holdout", "uncounted", "refused", "disconnected", "failed",
)  # fmt: skip
"""chosen: the client or its key chose effort or budget. explored: drawn for itself. no holdout:
answered at a time without one. uncounted: the engine told no thinking tokens. refused: 400 to 498.
disconnected: the client closed the connection. failed: 500 or above."""


def request_counts(totals: Totals) -> dict[str, Any]:
    """Requests, those compared, those left out by reason, and all by status."""
    columns = totals.columns
    left_out: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    compared = 0
    rows = zip(
        *(columns[name].tolist() for name in ("arm", "status", "compared", "requests")), strict=True
    )
    for arm, status, is_compared, requests in rows:
        number = round(requests)
        statuses[str(status)] += number
        if is_compared == 1:
            compared += number
        else:
            left_out[_reason(arm, status, is_compared)] += number
    return {
        "requests": statuses.total(),
        "compared": compared,
        "left_out": {name: left_out[name] for name in _REASONS if left_out[name]},
        "statuses": dict(sorted(statuses.items())),
    }


def _reason(arm: str, status: int, compared: int) -> str:
    if status == CLIENT_CLOSED_REQUEST:
        return "disconnected"
    if status != 200:
        return "failed" if status >= 500 else "refused"
    if not arm:
        return "chosen"
    if arm == "explore":
        return "explored"
    return "no holdout" if compared == 0 else "uncounted"
