"""The percentile bootstrap: resampling of rows, and 95 % intervals of statistics of them.

Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3. A row is what varies
independently: a problem, a conversation. Statistics that are computed from the same draws are
paired. This module belongs to the leaf package so that fits, replays, training reports and load
tests all resample in the same way; it needs numpy only and knows nothing of what a row holds.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from router.arrays import Array, Index

_TAILS = (0.025, 0.975)


def resampled_rows(size: int, draws: int, seed: int = 0) -> Iterator[Index]:
    """Row indices (N,) of each draw, for statistics that need the rows; N = `size`."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield rng.integers(0, size, size)


def resampled_weights(size: int, draws: int, seed: int = 0) -> Array:
    """Row weights (1 + D, N), each summing to 1: equal ones, then those of each draw.

    `weights @ values` gives the mean of `values` (N,) or (N, K), then that of each of D draws.
    """
    rng = np.random.default_rng(seed)
    repeats = rng.multinomial(size, np.full(size, 1 / size), draws)
    return np.vstack([np.ones(size), repeats]) / size


def percentile_interval(statistics: Sequence[float] | Array) -> tuple[float, float]:
    """Both ends of the 95 % percentile interval of a statistic's D draws (D,), in its unit."""
    low, high = np.quantile(statistics, _TAILS)
    return float(low), float(high)


def bootstrap_interval(
    size: int, statistic: Callable[[Index], float], draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of a `statistic` of row indices (N,), over resamples of `size` rows."""
    return percentile_interval([statistic(rows) for rows in resampled_rows(size, draws, seed)])
