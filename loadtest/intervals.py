"""Figures with their 95 % intervals."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor, sqrt
from typing import Any

import numpy as np

_RESAMPLES = 2000
_Z = 1.959964


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def told(self, scale: float = 1, sign: str = "") -> str:
        """In words: 61.5 [60.2, 62.9]."""
        value, low, high = (f"{scale * x:{sign}.1f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def as_json(self) -> dict[str, float]:
        """As a JSON object."""
        return asdict(self)


def bootstrap(values: Sequence[Sequence[float]], figure: Callable[[Any], Any]) -> Interval:
    """The figure of rows (N, K), and its percentile interval over resampled rows.

    `figure` maps an array (N, K) to a number.
    """
    rows = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    drawn = [figure(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(figure(rows)), float(low), float(high))


def wilson(hits: int, n: int) -> Interval:
    """A share with its 95 % Wilson score interval, which has a width at 0 and 100 % too."""
    share, z2 = hits / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def percentile(values: Sequence[float], percent: float) -> Interval:
    """A percentile, between the order statistics that have it between them 95 % of the time."""
    rows = np.sort(np.asarray(values, dtype=float))
    share, last = percent / 100, len(rows) - 1
    half = _Z * sqrt(len(rows) * share * (1 - share))
    low, high = floor(len(rows) * share - half), ceil(len(rows) * share + half)
    at = float(np.percentile(rows, percent))
    ends = rows[np.clip([low, high], 0, last)]
    return Interval(at, min(float(ends[0]), at), max(float(ends[1]), at))
