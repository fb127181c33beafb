"""Wilcoxon's signed-rank test as an interval: how far paired differences lie from zero.

Bauer, "Constructing confidence sets using rank statistics", JASA 67, 1972. It assumes pairs that
vary independently and symmetrically around one shift, but no normal distribution: one pair that is
far out moves it little, and it is exact for a handful of pairs. A difference may be known by its
bounds only, as that of a count which was cut off at a limit.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist, median
from typing import NamedTuple

_EXACT_PAIRS = 50
"""Pairs up to which the distribution of the statistic is counted out."""


class Shift(NamedTuple):
    """A shift, with one-sided bounds: each fails with probability `alpha` at most."""

    lower: float
    estimate: float
    upper: float


def shift(differences: Sequence[tuple[float, float]], alpha: float) -> Shift:
    """The shift of paired differences, each between two bounds, which are equal where it is known.

    The lower bound of a difference is finite or -inf, the upper one finite or inf, and one of both
    is finite. Too few pairs for `alpha` have infinite bounds.
    """
    smallest = sorted(_walsh([low for low, _ in differences]))
    largest = sorted(_walsh([high for _, high in differences]), reverse=True)
    middles = [low if math.isfinite(low) else high for low, high in differences]
    estimate = median(_walsh(middles)) if middles else math.nan
    rank = _rank(len(differences), alpha)
    if rank is None:
        return Shift(-math.inf, estimate, math.inf)
    return Shift(smallest[rank], estimate, largest[rank])


def _walsh(values: Sequence[float]) -> list[float]:
    """The means of all pairs of values, each value with itself too."""
    return [(left + right) / 2 for i, left in enumerate(values) for right in values[i:]]


@cache
def _rank(pairs: int, alpha: float) -> int | None:
    """The largest w with P(W <= w) <= alpha, W the signed-rank statistic without a shift."""
    if pairs > _EXACT_PAIRS:
        mean, variance = (
            pairs * (pairs + 1) / 4,
            pairs * (pairs + 1) * (2 * pairs + 1) / 24,
        )
        return math.floor(NormalDist(mean, math.sqrt(variance)).inv_cdf(alpha) - 0.5)
    counts = [1]  # subsets of the ranks so far, by their sum
    for rank in range(1, pairs + 1):
        longer = counts + [0] * rank
        for total, count in enumerate(counts):
            longer[total + rank] += count
        counts = longer
    allowed, below = alpha * 2**pairs, 0
    for total, count in enumerate(counts):
        below += count
        if below > allowed:
            return total - 1 if total else None
    return None
