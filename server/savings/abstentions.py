"""How many of the newest requests the router did not judge, and why: those save nothing."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row

COLUMNS = ("source", "abstained")

_ROUTED = ("router", "fallback", "holdout")


def abstentions(rows: Iterable[Row[Any]]) -> dict[str, Any]:
    """Of rows with COLUMNS: `requests`, for how many the router was to find an effort.

    `reasons`: on how many of these it abstained, by reason, the most frequent one first.
    """
    routed = [row for row in rows if row.source in _ROUTED]
    reasons: Counter[str] = Counter(row.abstained for row in routed if row.abstained)
    return {"requests": len(routed), "reasons": dict(reasons.most_common())}
