"""Other policies, evaluated from the ledger before they are deployed.

The ledger keeps the probability of each effort. A policy that was not deployed is evaluated on the
requests that got the effort it would choose; the router's predictions stand in for the others:
doubly robust off-policy evaluation (Dudik, Langford & Li, ICML 2011).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from router.effort import Effort, is_effort, nearest
from router.estimate import Estimate
from router.policy import OperatingPoint, choose
from server.ledger.reader import Row
from server.savings.estimator import ENOUGH_HELD_OUT

Choice = Callable[[Row], str]
"""The effort that a policy chooses for a request."""

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Value:
    """Mean thinking tokens of a request under a policy, with a 95 % interval.

    `supported` is the share of requests for which the policy's effort had a positive probability.
    The others count with the router's prediction, whose error is not in the interval. `pending` if
    too few conversations got the policy's effort.
    """

    tokens: float
    interval: tuple[float, float]
    supported: float
    requests: int
    pending: bool


def at_point(point: OperatingPoint) -> Choice:
    """The effort that the router would choose at an operating point, or the baseline."""

    def chosen(row: Row) -> str:
        p, tokens, baseline = row["p_correct"], row["expected_tokens"], row["baseline"]
        if not p or row["abstained"] or (not point.dearer and baseline not in p):
            return baseline
        return choose(Estimate(0.0, p, tokens, {}), point, list(p), baseline)

    return chosen


def fixed(effort: Effort) -> Choice:
    """Always the same effort, or the nearest one that the model has."""

    def chosen(row: Row) -> str:
        levels: list[str] = [*(row["expected_tokens"] or ())]
        efforts: list[Effort] = [level for level in levels if is_effort(level)]
        return nearest(effort, efforts) if efforts else row["baseline"]

    return chosen


def evaluate(rows: Sequence[Row], choice: Choice) -> Value | None:
    """The value of a policy; None without requests to evaluate it on.

    Requests whose effort an earlier turn pinned are left out: another policy would have pinned
    another effort.
    """
    judged = [row for row in rows if row["expected_tokens"] and not row.get("pinned")]
    judged = [row for row in judged if row["source"] != "pinned"]  # rows of older versions
    if not judged:
        return None
    values = np.zeros(len(judged))
    supported, followed = 0, set[str]()
    for index, row in enumerate(judged):
        effort = choice(row)
        model = row["choices"] * row["expected_tokens"][effort]
        chance = _chance(row, effort)
        supported += chance > 0
        values[index] = model
        if row["effort"] == effort and chance > 0:
            followed.add(row["conversation"])
            values[index] += (row["thinking_tokens"] - model) / chance
    mean = float(values.mean())
    names = np.unique([row["conversation"] for row in judged], return_inverse=True)[1]
    sums = np.bincount(names, weights=values - mean)
    half_width = _Z * sqrt(float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)) / len(judged)
    return Value(
        mean,
        (mean - half_width, mean + half_width),
        supported / len(judged),
        len(judged),
        supported > 0 and len(followed) < ENOUGH_HELD_OUT,
    )


def _chance(row: Row, effort: str) -> float:
    """The probability with which the request got this effort."""
    return (
        row["p_treated"] * (row["routed"] == effort)
        + row["p_holdout"] * (row["baseline"] == effort)
        + row["p_explore"] * is_effort(effort)
    )
