"""Policies held against each other on the same problems: means, mixtures, frontiers, intervals.

A policy here is what it came to on each problem. Everything derived from means is derived again
for each bootstrap draw of problems, so every interval is paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from router.bootstrap import percentile_interval, resampled_weights
from router.estimate import Array

_DRAWS = 400
_GRID = 200


@dataclass(frozen=True)
class Figure:
    """Accuracy and tokens of one policy per problem, each (N,)."""

    accuracy: Array
    tokens: Array


@dataclass(frozen=True)
class Means:
    """Mean accuracy and mean tokens of K policies, each (K,), in one draw of the problems."""

    accuracy: Array
    tokens: Array

    def only(self, rows: slice) -> "Means":
        """Some of the policies."""
        return Means(self.accuracy[rows], self.tokens[rows])


@dataclass(frozen=True)
class Interval:
    """A value, and its 95 % bootstrap interval over problems."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """What reports call the interval."""
        return self.low, self.high


class Draws:
    """The means of K policies: of all problems first, then of each bootstrap draw."""

    def __init__(self, figures: Sequence[Figure], seed: int = 0) -> None:
        size = len(figures[0].accuracy)
        weights = resampled_weights(size, _DRAWS, seed)
        accuracy = weights @ np.stack([figure.accuracy for figure in figures], axis=1)
        tokens = weights @ np.stack([figure.tokens for figure in figures], axis=1)
        self._means = [Means(a, t) for a, t in zip(accuracy, tokens, strict=True)]

    def interval(self, statistic: Callable[[Means], float]) -> Interval:
        """A statistic of the means; nan where it is not defined."""
        value, *drawn = (statistic(means) for means in self._means)
        known = [one for one in drawn if np.isfinite(one)]
        if not np.isfinite(value) or not known:
            return Interval(float("nan"), float("nan"), float("nan"))
        return Interval(float(value), *percentile_interval(known))


def hull(means: Means) -> tuple[Array, Array]:
    """Corners (tokens, accuracy) of the best that random mixtures of policies reach.

    By rising tokens; accuracy never falls, for nobody need spend more to get less.
    """
    corners: list[tuple[float, float]] = []
    for point in sorted(zip(means.tokens.tolist(), means.accuracy.tolist(), strict=True)):
        if corners and point[1] <= corners[-1][1]:
            continue
        while corners and point[0] == corners[-1][0]:
            corners.pop()
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], point):
            corners.pop()
        corners.append(point)
    tokens, accuracy = np.array(corners).T
    return tokens, accuracy


def _slope(left: tuple[float, float], right: tuple[float, float]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])


def accuracy_at(means: Means, tokens: float) -> float:
    """The accuracy of the best mixture that spends at most `tokens`; else of the cheapest."""
    return float(np.interp(tokens, *hull(means)))


def tokens_at(means: Means, accuracy: float) -> float:
    """The fewest tokens of a mixture that is at least so accurate; else of the most accurate."""
    tokens, reached = hull(means)
    return float(np.interp(accuracy, reached, tokens))


def area(means: Means, fixed: Means) -> float:
    """Mean accuracy of the best mixtures, over the tokens from the cheapest fixed to the dearest.

    The area under the frontier, as a share of its widest: between 0 and 1.
    """
    grid: Array = np.linspace(float(fixed.tokens.min()), float(fixed.tokens.max()), _GRID)
    return float(np.interp(grid, *hull(means)).mean())


def gap_closed(routed: Means, fixed: Means, oracle: Means) -> float:
    """Share of the tokens between mixtures of fixed efforts and the oracle that a policy saves.

    At the policy's own accuracy; at most 1, and nan where the oracle saves nothing there.
    """
    target = float(routed.accuracy[0])
    without, least = tokens_at(fixed, target), tokens_at(oracle, target)
    if without - least <= 1e-9:
        return float("nan")
    return min((without - float(routed.tokens[0])) / (without - least), 1.0)
