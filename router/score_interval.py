"""Wilson's score interval of a share, which has a width at 0 and 100 % too.

Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
"""

from math import sqrt

Z = 1.959964
"""The quantile of the normal distribution that a 95 % interval needs."""


def score_interval(share: float, n: float) -> tuple[float, float]:
    """The ends of the 95 % interval of a share of `n`, within [0, 1]; `n` may be a fraction."""
    z2 = Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)
