"""Metrics that are kept in plain attributes until they are read.

A request changes some twenty of them; each change of prometheus-client's takes a lock and four
calls (docs/benchmarks/gateway.md). Change those here in the event loop's thread only.
"""

from bisect import bisect_left
from collections.abc import Iterable
from time import time
from typing import Any, Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar


class Counting(Protocol):
    """Counter, or one that is kept."""

    def inc(self, amount: float = 1) -> None: ...


class Measuring(Protocol):
    """Gauge, or one that is kept."""

    def set(self, value: float) -> None: ...


class Observing(Protocol):
    """Histogram, or one that is kept."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None: ...


class Count:
    """What a counter is to be increased by."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._amount: float = 0

    def inc(self, amount: float = 1) -> None:
        self._amount += amount

    def flush(self) -> None:
        amount, self._amount = self._amount, 0
        if amount:
            self._counter.inc(amount)


class Level:
    """What a gauge is to be set to."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._value: float | None = None

    def set(self, value: float) -> None:
        self._value = value

    def flush(self) -> None:
        if self._value is not None:
            self._gauge.set(self._value)
            self._value = None


class Distribution:
    """What a histogram is to observe."""

    def __init__(self, histogram: Histogram, bounds: Iterable[float]) -> None:
        self._histogram = histogram
        self._bounds = [*bounds]
        self._clear()

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        bucket = bisect_left(self._bounds, amount)
        self._sum += amount
        self._counts[bucket] += 1
        if exemplar is not None:
            self._exemplars[bucket] = exemplar, amount, time()

    def flush(self) -> None:
        """Add to each bucket at once, which needs private parts: tests/test_dependencies.py."""
        histogram: Any = self._histogram
        if any(self._counts):
            histogram._sum.inc(self._sum)
            for bucket, count in zip(histogram._buckets, self._counts, strict=True):
                bucket.inc(count)
            for index, exemplar in self._exemplars.items():
                histogram._buckets[index].set_exemplar(Exemplar(*exemplar))
            self._clear()

    def _clear(self) -> None:
        self._sum = 0.0
        self._counts = [0] * (len(self._bounds) + 1)
        self._exemplars: dict[int, tuple[dict[str, str], float, float]] = {}


_Kept = TypeVar("_Kept", Count, Level, Distribution)


class Deferred(Collector):
    """The metrics of one registry that are kept; to be the registry's earliest collector.

    Args:
        is_shared: whether other processes read the metrics; then nothing is kept.
    """

    def __init__(self, is_shared: bool) -> None:
        self._is_shared = is_shared
        self._kept: list[Count | Level | Distribution] = []

    def counter(self, counter: Counter) -> Counting:
        return counter if self._is_shared else self._keep(Count(counter))

    def gauge(self, gauge: Gauge) -> Measuring:
        return gauge if self._is_shared else self._keep(Level(gauge))

    def histogram(self, histogram: Histogram, bounds: Iterable[float]) -> Observing:
        return histogram if self._is_shared else self._keep(Distribution(histogram, bounds))

    def _keep(self, kept: _Kept) -> _Kept:
        self._kept.append(kept)
        return kept

    def collect(self) -> Iterable[Metric]:
        """Flush what is kept, for the collectors that follow; has no metrics of its own."""
        for kept in self._kept:
            kept.flush()
        return ()
