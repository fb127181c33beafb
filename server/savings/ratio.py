"""A ratio of two means over conversations, with an interval; pure arithmetic.

Fieller's method (JRSS B 16, 1954): the interval has each ratio r for which r times the denominator
minus the numerator may be zero. It needs no symmetric distribution of the ratio, and has no end
where the denominator may be zero.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from server.savings.sample import Array

Interval = tuple[float, float]


@dataclass(frozen=True)
class Pair:
    """Estimates of a numerator and a denominator, with their variances and covariance."""

    numerator: float
    denominator: float
    numerator_variance: float
    covariance: float
    denominator_variance: float

    @property
    def ratio(self) -> float | None:
        """The ratio; None where the denominator is 0."""
        return self.numerator / self.denominator if self.denominator else None

    @property
    def ratio_variance(self) -> float:
        """The variance of the ratio where the denominator is sure (the delta method)."""
        ratio = self.ratio
        if ratio is None:
            return 0.0
        residual = (
            self.numerator_variance
            - 2 * ratio * self.covariance
            + ratio**2 * self.denominator_variance
        )
        return max(residual, 0.0) / self.denominator**2

    def inverse(self) -> "Pair":
        """The pair of the inverse ratio."""
        return Pair(
            self.denominator,
            self.numerator,
            self.denominator_variance,
            self.covariance,
            self.numerator_variance,
        )

    def times(self, factor: float, variance: float) -> "Pair":
        """With the numerator times an independent estimate of this variance."""
        return Pair(
            factor * self.numerator,
            self.denominator,
            factor**2 * self.numerator_variance + self.numerator**2 * variance,
            factor * self.covariance,
            self.denominator_variance,
        )

    def interval(self, low: float, high: float) -> Interval | None:
        """The interval of the ratio; None where it is unbounded.

        Args:
            low: quantile of the error of r x denominator - numerator over its standard error,
                where r is the true ratio.
            high: the same at the other end.
        """
        lower, upper = self._ends(low), self._ends(high)
        return None if lower is None or upper is None else (lower[0], upper[1])

    def _ends(self, quantile: float) -> Interval | None:
        """The ratios at which the error is this many standard errors, in either direction."""
        square = quantile**2
        leading = self.denominator**2 - square * self.denominator_variance
        middle = self.denominator * self.numerator - square * self.covariance
        constant = self.numerator**2 - square * self.numerator_variance
        inner = middle**2 - leading * constant
        if not np.isfinite(inner) or leading <= 0 or inner < 0:
            return None
        return (middle - sqrt(inner)) / leading, (middle + sqrt(inner)) / leading


def pair(numerators: Array, denominators: Array, weights: Array) -> Pair:
    """The pair of weighted sums over conversations, all arrays (N,)."""
    weighted_numerators, weighted_denominators = weights * numerators, weights * denominators
    return pair_of_sums(
        len(weighted_numerators),
        float(weighted_numerators.sum()),
        float(weighted_denominators.sum()),
        float(weighted_numerators @ weighted_numerators),
        float(weighted_numerators @ weighted_denominators),
        float(weighted_denominators @ weighted_denominators),
    )


def pair_of_sums(
    number: int,
    numerator: float,
    denominator: float,
    numerator_squares: float,
    products: float,
    denominator_squares: float,
) -> Pair:
    """The pair of sums over `number` conversations, from the sums of their squares and products."""
    if not number:
        return Pair(0.0, 0.0, 0.0, 0.0, 0.0)
    scale = number / max(number - 1, 1)
    return Pair(
        numerator,
        denominator,
        scale * max(numerator_squares - numerator**2 / number, 0.0),
        scale * (products - numerator * denominator / number),
        scale * max(denominator_squares - denominator**2 / number, 0.0),
    )
