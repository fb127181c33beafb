"""Figures with their 95 % intervals."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, inf, isfinite, sqrt
from typing import Any

import numpy as np

from router.bootstrap import percentile_interval, resampled_rows

_RESAMPLES = 2000
_Z = 1.959964


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; an end that cannot be told is infinite."""

    value: float
    low: float
    high: float

    def told(self, scale: float = 1, sign: str = "") -> str:
        """In words: 61.5 [60.2, 62.9]."""
        value, low, high = (
            f"{scale * x:{sign}.1f}" if isfinite(x) else "-"
            for x in (self.value, self.low, self.high)
        )
        return f"{value} [{low}, {high}]"

    def as_json(self) -> dict[str, float | None]:
        """As a JSON object; null for an end that cannot be told."""
        return {name: x if isfinite(x) else None for name, x in asdict(self).items()}


def bootstrap(
    values: Sequence[Sequence[float]],
    figure: Callable[[Any], Any],
    also: Sequence[Sequence[float]] = (),
) -> Interval:
    """The figure of rows (N, K), and its percentile interval over resampled rows.

    `figure` maps an array (N, K) to a number; where a resample has none, nothing is known of the
    lower end. The rows of `also` are resampled with the others, and no part of the figure itself.
    """
    rows = np.asarray([*values, *also], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = [figure(rows[draw]) for draw in resampled_rows(len(rows), _RESAMPLES)]
        low, high = percentile_interval(np.nan_to_num(drawn, nan=-inf, neginf=-inf))
    return Interval(
        float(figure(rows[: len(values)])),
        low if isfinite(low) else -inf,
        high if isfinite(high) else inf,
    )


def share(groups: Sequence[tuple[int, int]]) -> Interval:
    """The share of hits in groups of (hits, n), with an interval that allows for likeness in one.

    Wilson's, of as many independent ones as they are worth (Kish's design effect).
    """
    hits, n = (sum(column) for column in zip(*groups, strict=True))
    found, number = hits / n, len(groups)
    most = n / number  # as if all in a group were the same
    effect = most
    if 0 < hits < n and number > 1:
        together = sum((one - found * size) ** 2 for one, size in groups) * number / (number - 1)
        effect = min(max(together / (n * found * (1 - found)), 1), most)
    return wilson(found * n / effect, n / effect)


def wilson(hits: float, n: float) -> Interval:
    """A share with its 95 % Wilson score interval, which has a width at 0 and 100 % too."""
    found, z2 = hits / n, _Z * _Z
    middle = (found + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(found * (1 - found) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(found, max(middle - half, 0.0), min(middle + half, 1.0))


def percentile(values: Sequence[float], percent: float) -> Interval:
    """A percentile, between the order statistics that have it between them 95 % of the time.

    Where there are too few values for one of these, that end cannot be told.
    """
    rows = np.sort(np.asarray(values, dtype=float))
    below, last = percent / 100, len(rows) - 1
    half = _Z * sqrt(len(rows) * below * (1 - below))
    low, high = floor(len(rows) * below - half), ceil(len(rows) * below + half) - 1
    at = float(np.percentile(rows, percent))
    return Interval(
        at,
        min(float(rows[low]), at) if low >= 0 else -inf,
        max(float(rows[high]), at) if high <= last else inf,
    )
