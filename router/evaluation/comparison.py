"""Comparison of policies on the same problems: means, mixtures, frontiers, intervals.

A policy is represented by its accuracy and tokens on each problem. Every statistic is computed
again for each bootstrap draw of the problems, so all intervals are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from router.arrays import Array, Index
from router.bootstrap import percentile_interval, resampled_weights

_DRAWS = 400
_GRID = 200


@dataclass(frozen=True)
class PolicyResult:
    """Accuracy and tokens of one policy on each of N problems, both (N,)."""

    accuracy: Array
    tokens: Array


@dataclass(frozen=True)
class Means:
    """Mean accuracy and mean tokens of K policies, both (K,), in one draw of the problems."""

    accuracy: Array
    tokens: Array
    _subsets: dict[tuple[int, int], "Means"] = field(
        default_factory=dict[tuple[int, int], "Means"], repr=False, compare=False
    )

    def subset(self, policies: slice) -> "Means":
        """The means of some adjacent policies; asked again, the same object, which has its hull."""
        key = policies.start, policies.stop
        if key not in self._subsets:
            self._subsets[key] = Means(self.accuracy[policies], self.tokens[policies])
        return self._subsets[key]

    @cached_property
    def hull(self) -> tuple[Array, Array]:
        """The corners of their upper concave hull, computed once."""
        return hull(self)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval over problems; all nan where it is undefined."""

    value: float
    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends, lower first."""
        return self.low, self.high


class Draws:
    """The means of K policies over all N problems, and over each of 400 bootstrap draws.

    Problems of one of the `clusters` (N,), numbered from 0, are drawn together.
    """

    def __init__(
        self, results: Sequence[PolicyResult], seed: int = 0, clusters: Index | None = None
    ) -> None:
        if clusters is None:
            weights = resampled_weights(len(results[0].accuracy), _DRAWS, seed)
        else:
            weights = resampled_weights(int(clusters.max()) + 1, _DRAWS, seed)[:, clusters]
            weights /= weights.sum(axis=1, keepdims=True)
        accuracy = weights @ np.stack([result.accuracy for result in results], axis=1)
        tokens = weights @ np.stack([result.tokens for result in results], axis=1)
        self._means = [Means(a, t) for a, t in zip(accuracy, tokens, strict=True)]

    @property
    def means(self) -> Means:
        """The means over all problems."""
        return self._means[0]

    def interval(self, statistic: Callable[[Means], float]) -> Interval:
        """A statistic of the means, with its interval over the draws where it is finite."""
        value, *drawn = (statistic(means) for means in self._means)
        finite = [draw for draw in drawn if np.isfinite(draw)]
        if not np.isfinite(value) or not finite:
            return Interval(float("nan"), float("nan"), float("nan"))
        return Interval(float(value), *percentile_interval(finite))


def hull(means: Means) -> tuple[Array, Array]:
    """The upper concave hull of K policies: tokens (C,) and accuracy (C,) of its corners.

    Random mixtures of the policies reach every point of it and none above it. Both arrays rise:
    a policy that spends more for less accuracy is no corner.
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
    """The accuracy of the best mixture of at most `tokens`; of the cheapest policy if none is."""
    return float(np.interp(tokens, *means.hull))


def tokens_at(means: Means, accuracy: float) -> float:
    """The fewest tokens of a mixture of at least `accuracy`; of the most accurate if none is."""
    tokens, accuracies = means.hull
    return float(np.interp(accuracy, accuracies, tokens))


def area(means: Means, fixed: Means) -> float:
    """The area under the frontier of accuracy over tokens, normalised to 0..1.

    That is the mean accuracy of the best mixtures, over budgets from the cheapest `fixed` effort's
    tokens to the most expensive one's.
    """
    grid: Array = np.linspace(float(fixed.tokens.min()), float(fixed.tokens.max()), _GRID)
    return float(np.interp(grid, *means.hull).mean())


def gap_closed(routed: Means, fixed: Means, oracle: Means) -> float:
    """The share of the oracle's token saving that a policy reaches, at the policy's accuracy.

    The saving is against the best mixture of fixed efforts. At most 1; nan where the oracle saves
    nothing.
    """
    target = float(routed.accuracy[0])
    mixture, best = tokens_at(fixed, target), tokens_at(oracle, target)
    if mixture - best <= 1e-9:
        return float("nan")
    return min((mixture - float(routed.tokens[0])) / (mixture - best), 1.0)
