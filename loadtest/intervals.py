"""Statistics with their 95 % confidence intervals."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, inf, isfinite, sqrt
from typing import Any

import numpy as np

from router.bootstrap import percentile_interval, resampled_rows
from router.score_interval import Z, score_interval

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % interval; an end that the data do not determine is infinite."""

    value: float
    low: float
    high: float

    def text(self, scale: float = 1, sign: str = "") -> str:
        """As 61.5 [60.2, 62.9], with a dash for an end that is not determined."""
        value, low, high = (
            f"{scale * x:{sign}.1f}" if isfinite(x) else "-"
            for x in (self.value, self.low, self.high)
        )
        return f"{value} [{low}, {high}]"

    def as_json(self) -> dict[str, float | None]:
        """As a JSON object, with null for an end that is not determined."""
        return {name: x if isfinite(x) else None for name, x in asdict(self).items()}


def bootstrap(
    values: Sequence[Sequence[float]],
    statistic: Callable[[Any], Any],
    pseudo_rows: Sequence[Sequence[float]] = (),
) -> Interval:
    """A statistic of the sums of rows (N, K), and its percentile interval over resampled rows.

    Args:
        values: the rows.
        statistic: maps the sums (K,) of the columns to a number. If it is NaN in a resample, the
            lower end is not determined.
        pseudo_rows: rows that are resampled with the others, but no part of the statistic itself.
    """
    rows = np.asarray([*values, *pseudo_rows], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = [
            statistic(np.bincount(draw, minlength=len(rows)) @ rows)
            for draw in resampled_rows(len(rows), _RESAMPLES)
        ]
        low, high = percentile_interval(np.nan_to_num(statistics, nan=-inf, neginf=-inf))
    return Interval(
        float(statistic(rows[: len(values)].sum(axis=0))),
        low if isfinite(low) else -inf,
        high if isfinite(high) else inf,
    )


def share(groups: Sequence[tuple[int, int]]) -> Interval:
    """The share of hits in groups of (hits, n), whose members may be correlated.

    The interval is Wilson's for the effective sample size (Kish's design effect).
    """
    hits, n = (sum(column) for column in zip(*groups, strict=True))
    proportion, number = hits / n, len(groups)
    max_effect = n / number  # all members of a group identical
    effect = max_effect
    if 0 < hits < n and number > 1:
        between = sum((group_hits - proportion * size) ** 2 for group_hits, size in groups)
        variance = between * number / (number - 1)
        effect = min(max(variance / (n * proportion * (1 - proportion)), 1), max_effect)
    return wilson(proportion * n / effect, n / effect)


def wilson(hits: float, n: float) -> Interval:
    """A share with its 95 % Wilson score interval, which has a width at 0 and 100 % too."""
    return Interval(hits / n, *score_interval(hits / n, n))


def percentile(values: Sequence[float], percent: float) -> Interval:
    """A percentile with its interval between order statistics (binomial, normal approximation).

    With too few values for an order statistic, that end is not determined.
    """
    rows = np.sort(np.asarray(values, dtype=float))
    probability, max_index = percent / 100, len(rows) - 1
    half = Z * sqrt(len(rows) * probability * (1 - probability))
    low_index = floor(len(rows) * probability - half)
    high_index = ceil(len(rows) * probability + half) - 1
    value = float(np.percentile(rows, percent))
    return Interval(
        value,
        min(float(rows[low_index]), value) if low_index >= 0 else -inf,
        max(float(rows[high_index]), value) if high_index <= max_index else inf,
    )
