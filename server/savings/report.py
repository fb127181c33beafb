"""The savings report: what was saved, in which unit, by whom, with intervals or `pending`."""

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
_WORST_SCORE = 1.0
"""By how much an answer's score can miss what was expected."""


def report(rows: Columns, counts: Mapping[str, int], price: float | None) -> dict[str, Any]:
    """The report as one JSON object; see the README for its fields.

    Args:
        rows: requests that were treated or held out; see `server.ledger.reader.comparable`.
        counts: requests by arm.
        price: of a million completion tokens.
    """
    compared = rows["p_holdout"] > 0
    kept = {name: column[compared] for name, column in rows.items()}
    whole = _Traffic(kept)
    days = np.array([str(day) for day in _days(kept["at"])], dtype=object)
    groups = {"effort": kept["routed"], "model": kept["model"], "key": kept["key"], "day": days}
    return {
        "created": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "requests": dict(counts),
        "not_comparable": int((~compared).sum()),
        "savings": {name: _entry(whole.sample(*one)) for name, one in _measures(kept, price)},
        "accuracy": _accuracy(whole, kept),
        "by": {name: _by(whole, kept, of) for name, of in groups.items()},
    }


class _Traffic:
    """What every sample of the same requests shares."""

    def __init__(self, rows: Columns) -> None:
        names = dict.fromkeys(rows["conversation"].tolist())
        place = {name: number for number, name in enumerate(names)}
        self._conversation = np.array(
            [place[name] for name in rows["conversation"].tolist()], dtype=np.intp
        )
        self._treated = rows["arm"] == "treated"
        self._p_treated, self._p_held_out = rows["p_treated"], rows["p_holdout"]

    def sample(self, taken: Array, predicted: Array) -> Sample:
        """The requests with one of their outcomes."""
        return Sample(
            self._treated,
            self._conversation,
            self._p_treated,
            self._p_held_out,
            taken,
            predicted,
        )


def _measures(rows: Columns, price: float | None) -> list[tuple[str, tuple[Array, Array]]]:
    """What savings are told in, and what predicts it; money where tokens have a price."""
    thinking, predicted = rows["thinking_tokens"], rows["baseline_tokens"]
    completion = thinking + rows["answer_tokens"]
    found = [
        ("thinking_tokens", (thinking, predicted)),
        ("completion_tokens", (completion, predicted)),
        ("seconds", (rows["seconds"], predicted)),
    ]
    if price is not None:
        each = price / 1e6
        found.append(("money", (each * completion, each * predicted)))
    return found


def _by(traffic: _Traffic, rows: Columns, group: NDArray[Any]) -> dict[str, Any]:
    """Thinking tokens saved in each group; an effort's group is who the router would give it."""
    whole = traffic.sample(rows["thinking_tokens"], rows["baseline_tokens"])
    return {name: _entry(whole.only(group == name)) for name in sorted(set(group.tolist()))}


def _days(at: Array) -> NDArray[np.datetime64]:
    return (at // _DAY).astype("datetime64[D]")


def _accuracy(traffic: _Traffic, rows: Columns) -> dict[str, Any] | None:
    """Mean feedback of treated requests minus what it would be at the baseline effort.

    Of requests with feedback only: they stand for the others if both arms are judged alike.
    """
    scored = np.isfinite(rows["score"])
    if not scored.any():
        return None
    sample = traffic.sample(rows["score"], rows["baseline_p_correct"]).only(scored)
    found = estimate(sample, imagined=_WORST_SCORE)
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


def _entry(sample: Sample) -> dict[str, Any]:
    found: Saving = estimate(sample)
    return {
        "pending": found.pending,
        "saved": found.saved,
        "saved_ci": _finite(found.ends),
        "saved_always": _finite(found.always),
        "share": _known(found.share(found.saved)),
        "share_ci": _finite(tuple(map(found.share, found.ends))),
        "share_always": _finite(tuple(map(found.share, found.always))),
        "taken": found.taken,
        "requests": found.requests,
        "held_out_requests": found.held_out_requests,
        "held_out_conversations": found.held_out_conversations,
    }


def _known(number: float) -> float | None:
    return number if isfinite(number) else None


def _finite(ends: tuple[float, ...]) -> list[float] | None:
    return list(ends) if all(map(isfinite, ends)) else None
