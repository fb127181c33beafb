"""The savings report: savings per unit and group, with intervals, or `pending`."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.ledger.reader import Columns
from server.savings.estimator import Array, Sample, Saving, estimate

_DAY = 86_400
_MAX_SCORE_ERROR = 1.0
"""The largest difference between a score and its expectation."""


def report(rows: Columns, counts: Mapping[str, int], price: float | None) -> dict[str, Any]:
    """The report as one JSON object; its fields are in docs/.

    Args:
        rows: treated and held out requests; see `server.ledger.reader.comparable`.
        counts: requests by arm.
        price: of a million completion tokens.
    """
    compared = rows["p_holdout"] > 0
    comparable = {name: column[compared] for name, column in rows.items()}
    traffic = _Traffic(comparable)
    days = np.array([str(day) for day in _days(comparable["at"])], dtype=object)
    groups = {
        "effort": comparable["routed"],
        "model": comparable["model"],
        "key": comparable["key"],
        "kind": _named(comparable["kind"]),
        "day": days,
    }
    return {
        "created": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "requests": dict(counts),
        "not_comparable": int((~compared).sum()),
        "savings": {
            name: _entry(traffic.sample(*measure)) for name, measure in _measures(comparable, price)
        },
        "accuracy": _accuracy(traffic, comparable),
        "by": {name: _by(traffic, comparable, group) for name, group in groups.items()},
    }


class _Traffic:
    """Arms, conversations and propensities, which all samples of the same requests share."""

    def __init__(self, rows: Columns) -> None:
        names = dict.fromkeys(rows["conversation"].tolist())
        index = {name: number for number, name in enumerate(names)}
        self._conversation = np.array(
            [index[name] for name in rows["conversation"].tolist()], dtype=np.intp
        )
        self._treated = rows["arm"] == "treated"
        self._p_treated, self._p_held_out = rows["p_treated"], rows["p_holdout"]

    def sample(self, outcomes: Array, predicted: Array) -> Sample:
        """The requests with one outcome per request, both arrays (N,)."""
        return Sample(
            self._treated,
            self._conversation,
            self._p_treated,
            self._p_held_out,
            outcomes,
            predicted,
        )


def _measures(rows: Columns, price: float | None) -> list[tuple[str, tuple[Array, Array]]]:
    """Outcomes and their predictions by the measure's name; money only if tokens have a price."""
    thinking, predicted = rows["thinking_tokens"], rows["baseline_tokens"]
    completion = thinking + rows["answer_tokens"]
    measures = [
        ("thinking_tokens", (thinking, predicted)),
        ("completion_tokens", (completion, predicted)),
        ("seconds", (rows["seconds"], predicted)),
    ]
    if price is not None:
        token_price = price / 1e6
        money = token_price * completion, token_price * predicted
        measures.append(("money", money))
    return measures


def _by(traffic: _Traffic, rows: Columns, group: NDArray[Any]) -> dict[str, Any]:
    """Thinking tokens saved per group; requests are grouped by the effort that the router chose."""
    sample = traffic.sample(rows["thinking_tokens"], rows["baseline_tokens"])
    return {name: _entry(sample.subset(group == name)) for name in sorted(set(group.tolist()))}


def _named(kinds: NDArray[Any]) -> NDArray[Any]:
    """The kinds (N,), with `unknown` for requests without one and for rows of older versions."""
    return np.array([kind or "unknown" for kind in kinds.tolist()], dtype=object)


def _days(at: Array) -> NDArray[np.datetime64]:
    return (at // _DAY).astype("datetime64[D]")


def _accuracy(traffic: _Traffic, rows: Columns) -> dict[str, Any] | None:
    """Mean score of treated requests minus their expected score at the baseline effort.

    Only requests with feedback count. They represent the others if both arms get feedback at the
    same rate.
    """
    scored = np.isfinite(rows["score"])
    if not scored.any():
        return None
    sample = traffic.sample(rows["score"], rows["baseline_p_correct"]).subset(scored)
    saving = estimate(sample, imagined=_MAX_SCORE_ERROR)
    count = max(saving.requests, 1)
    low, high = (-end / count for end in reversed(saving.interval))
    return {
        "requests": saving.requests,
        "held_out_requests": saving.held_out_requests,
        "treated": saving.consumed / count,
        "difference": -saving.saved / count,
        "difference_ci": _finite((low, high)),
        "pending": saving.pending,
    }


def _entry(sample: Sample) -> dict[str, Any]:
    saving: Saving = estimate(sample)
    return {
        "pending": saving.pending,
        "saved": saving.saved,
        "saved_ci": _finite(saving.interval),
        "saved_always": _finite(saving.always_valid),
        "share": _known(saving.share(saving.saved)),
        "share_ci": _finite(tuple(map(saving.share, saving.interval))),
        "share_always": _finite(tuple(map(saving.share, saving.always_valid))),
        "taken": saving.consumed,
        "requests": saving.requests,
        "held_out_requests": saving.held_out_requests,
        "held_out_conversations": saving.held_out_conversations,
    }


def _known(number: float) -> float | None:
    return number if isfinite(number) else None


def _finite(ends: tuple[float, ...]) -> list[float] | None:
    return list(ends) if all(map(isfinite, ends)) else None
