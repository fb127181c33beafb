"""The savings report: savings per unit and group, with intervals, or `pending`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from server.savings.estimator import Saving, estimate_population
from server.savings.evidence import GROUPS, Evidence, Measure
from server.savings.prices import Prices
from server.savings.sample import Population
from server.savings.spending import spending

_MAX_SCORE_ERROR = 1.0
"""The largest difference between a score and its expectation."""

_THINKING = Measure(("thinking_tokens",))
_COMPLETION = ("thinking_tokens", "answer_tokens")
_SCORE = Measure(("score",), predicted="baseline_p_correct")


def report(
    evidence: Evidence, prices: Prices | None, groups: Sequence[str] = GROUPS
) -> dict[str, Any]:
    """The report as one JSON object; its fields are in docs/.

    Args:
        evidence: see `server.savings.evidence.gather`.
        prices: of tokens; None reports no money.
        groups: kinds of groups to report.
    """
    totals = evidence.totals
    measures = {
        name: _entry(evidence.population(measure)) for name, measure in _measures(prices).items()
    }
    return {
        "created": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "requests": totals.counts(),
        "refused": totals.refused(),
        "not_comparable": totals.not_comparable(),
        "savings": measures,
        "accuracy": _accuracy(evidence),
        "by": {group: _by(evidence, group) for group in groups},
        "spending": None if prices is None else spending(totals, prices),
    }


def _measures(prices: Prices | None) -> dict[str, Measure]:
    """Measures by name; money only if tokens have a price."""
    measures = {
        "thinking_tokens": _THINKING,
        "completion_tokens": Measure(_COMPLETION),
        "seconds": Measure(("seconds",)),
    }
    if prices is not None:
        measures["money"] = Measure(prices.columns, prices)
    return measures


def _by(evidence: Evidence, group: str) -> dict[str, Any]:
    """Thinking tokens saved per group; requests are grouped by the effort that the router chose."""
    names = evidence.names(group)
    return {name: _entry(evidence.population(_THINKING, group, name)) for name in names}


def _accuracy(evidence: Evidence) -> dict[str, Any] | None:
    """Mean score of treated requests minus their expected score at the baseline effort.

    Only requests with feedback count. They represent the others if both arms get feedback at the
    same rate.
    """
    population = evidence.population(_SCORE)
    if not population.requests and not len(population.held_out.outcomes):
        return None
    saving = estimate_population(population, imagined=_MAX_SCORE_ERROR)
    count = max(saving.requests, 1)
    low, high = (-end / count for end in reversed(saving.interval))
    return {
        "requests": saving.requests,
        "held_out_requests": saving.held_out_requests,
        "treated": saving.consumed / count,
        "difference": -saving.saved / count,
        "difference_ci": _finite_ends((low, high)),
        "pending": saving.pending,
    }


def _entry(population: Population) -> dict[str, Any]:
    saving: Saving = estimate_population(population)
    return {
        "pending": saving.pending,
        "saved": saving.saved,
        "saved_ci": _finite_ends(saving.interval),
        "saved_always": _finite_ends(saving.always_valid),
        "share": _finite_number(saving.share(saving.saved)),
        "share_ci": _finite_ends(tuple(map(saving.share, saving.interval))),
        "share_always": _finite_ends(tuple(map(saving.share, saving.always_valid))),
        "taken": saving.consumed,
        "requests": saving.requests,
        "held_out_requests": saving.held_out_requests,
        "held_out_conversations": saving.held_out_conversations,
        "heavy_tail": saving.heavy_tail,
    }


def _finite_number(number: float) -> float | None:
    return number if isfinite(number) else None


def _finite_ends(ends: tuple[float, ...]) -> list[float] | None:
    return list(ends) if all(map(isfinite, ends)) else None
