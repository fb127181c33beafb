"""The savings report: what was saved, in which unit, by whom, with intervals or `pending`."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np

from server.ledger.reader import Row
from server.savings.estimator import Sample, Saving, estimate

Measure = Callable[[Row], tuple[float, float]]
"""A request's outcome, and the router's prediction of it at the baseline effort (nan: none)."""


def measures(price: float | None) -> Mapping[str, Measure]:
    """What savings are told in; money where a million completion tokens have a price."""
    found: dict[str, Measure] = {
        "thinking_tokens": lambda row: (row["thinking_tokens"], predicted(row)),
        "completion_tokens": lambda row: (
            row["thinking_tokens"] + row["answer_tokens"],
            predicted(row),
        ),
        "seconds": lambda row: (row["seconds"], predicted(row)),
    }
    if price is not None:
        each = price / 1e6
        found["money"] = lambda row: (
            each * (row["thinking_tokens"] + row["answer_tokens"]),
            each * predicted(row),
        )
    return found


def predicted(row: Row) -> float:
    """Thinking tokens expected at the baseline effort, of all choices; nan where unknown."""
    expected = row["expected_tokens"]
    if not expected or not row["calibrated"] or row["baseline"] not in expected:
        return float("nan")
    return row["choices"] * expected[row["baseline"]]


def report(rows: Sequence[Row], counts: Mapping[str, int], price: float | None) -> dict[str, Any]:
    """The report as one JSON object; see the README for its fields."""
    compared = [row for row in rows if row["arm"] in ("treated", "holdout") and row["p_holdout"]]
    told = measures(price)
    groups: Mapping[str, Callable[[Row], str]] = {
        "effort": lambda row: row["routed"],
        "model": lambda row: row["model"],
        "key": lambda row: row["key"],
        "day": lambda row: datetime.fromtimestamp(row["at"], UTC).date().isoformat(),
    }
    return {
        "created": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "requests": dict(counts),
        "not_comparable": len(rows) - len(compared) - sum(row["arm"] == "explore" for row in rows),
        "savings": {name: _entry(_sample(compared, measure)) for name, measure in told.items()},
        "accuracy": _accuracy(compared),
        "by": {name: _by(compared, key) for name, key in groups.items()},
    }


def _by(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, Any]:
    """Thinking tokens saved in each group; an effort's group is who the router would give it."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(key(row), []).append(row)
    measure = measures(None)["thinking_tokens"]
    return {name: _entry(_sample(part, measure)) for name, part in sorted(parts.items())}


def _accuracy(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Mean feedback of treated requests minus what it would be at the baseline effort.

    Of requests with feedback only: they stand for the others if both arms are judged alike.
    """
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        return None

    def measure(row: Row) -> tuple[float, float]:
        chances: Mapping[str, float] = row["p_correct"] or {}
        return row["score"], chances.get(row["baseline"], float("nan"))

    found = estimate(_sample(scored, measure))
    each = max(found.requests, 1)
    low, high = (-end / each for end in reversed(found.ends))
    return {
        "requests": found.requests,
        "held_out_requests": found.held_out_requests,
        "treated": found.taken / each,
        "difference": -found.saved / each,
        "difference_ci": _finite((low, high)),
        "pending": found.pending,
    }


def _sample(rows: Sequence[Row], measure: Measure) -> Sample:
    taken, expected = np.array([measure(row) for row in rows], dtype=np.float64).reshape(-1, 2).T
    names = [row["conversation"] for row in rows]
    return Sample(
        treated=np.array([row["arm"] == "treated" for row in rows], dtype=np.bool_),
        conversation=np.unique(names, return_inverse=True)[1].astype(np.intp)
        if names
        else np.zeros(0, dtype=np.intp),
        p_treated=np.array([row["p_treated"] for row in rows], dtype=np.float64),
        p_held_out=np.array([row["p_holdout"] for row in rows], dtype=np.float64),
        taken=taken,
        predicted=expected,
    )


def _entry(sample: Sample) -> dict[str, Any]:
    found: Saving = estimate(sample)
    return {
        "pending": found.pending,
        "saved": found.saved,
        "saved_ci": _finite(found.ends),
        "saved_always": _finite(found.always),
        "share": found.share(found.saved),
        "share_ci": _finite(tuple(map(found.share, found.ends))),
        "share_always": _finite(tuple(map(found.share, found.always))),
        "taken": found.taken,
        "requests": found.requests,
        "held_out_requests": found.held_out_requests,
        "held_out_conversations": found.held_out_conversations,
    }


def _finite(ends: tuple[float, ...]) -> list[float] | None:
    return list(ends) if all(map(isfinite, ends)) else None
