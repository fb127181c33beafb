"""95 % intervals of accuracies and tokens over P problems, honest for few problems as well.

The bootstrap's interval of 0 right of 4 is [0, 0], and those of few problems are too narrow:
accuracies have score intervals instead, and what is resampled is widened by Student's t.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from router.arrays import Array
from router.bootstrap import percentile_interval
from router.score_interval import Z, score_interval
from router.student_quantile import student_quantile

Figure = dict[str, float]
"""`value` with the ends `low` and `high` of its interval."""


def accuracy_interval(values: Array) -> Figure:
    """The mean of accuracies (P,) in [0, 1], with Wilson's interval.

    Its sample size is the number of problems, or what the spread of problems makes of it where
    each is the mean of several samples: those tell more than one, at most as `P / (1 - share of
    the variance that lies between problems)`.
    """
    count, mean = len(values), float(np.mean(values))
    size, spread = float(count), float(np.var(values, ddof=1)) if count > 1 else 0.0
    if spread > 0:
        size = max(mean * (1 - mean) / spread * count, size)
    low, high = score_interval(mean, size)
    return {"value": mean, "low": low, "high": high}


def difference_interval(differences: Array) -> Figure:
    """The mean of paired differences of accuracies (P,), in [-1, 1].

    Agresti & Min, "Simple improved confidence intervals for comparing matched proportions", 2005:
    two more problems, one half of a point for either side, and Wald's interval of all.
    """
    count = len(differences) + 2
    middle = float(np.sum(differences)) / count
    spread = (float(np.sum(differences**2)) + 1) / count - middle**2
    half = Z * sqrt(spread / count)
    value = float(np.mean(differences))
    low, high = min(middle - half, value), max(middle + half, value)
    return {"value": value, "low": max(low, -1.0), "high": min(high, 1.0)}


def resampled_interval(statistics: Sequence[float] | Array, problems: int) -> Figure:
    """A statistic and its percentile interval, widened for few problems.

    Args:
        statistics: that of all problems first, then that of each resample; NaN drop out.
        problems: how many were resampled.
    """
    draws = np.asarray(statistics, dtype=float)
    value = float(draws[0])
    low, high = percentile_interval(draws[1:][~np.isnan(draws[1:])])
    factor = _widening(problems)
    return {
        "value": value,
        "low": value - factor * (value - low),
        "high": value + factor * (high - value),
    }


def _widening(problems: int) -> float:
    """Student's t over the normal quantile, and the bootstrap's missing degree of freedom.

    Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4. With one problem
    there is nothing to widen.
    """
    if problems < 2:
        return 1.0
    freedom = problems - 1
    return student_quantile(Z, freedom) / Z * sqrt(problems / freedom)
