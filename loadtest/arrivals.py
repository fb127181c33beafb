"""When requests are due, apart from what they ask: an open loop does not wait for answers."""

import random
from collections.abc import Iterator
from math import sqrt

from loadtest.plan import Arrivals
from loadtest.traces import read_trace


def due(arrivals: Arrivals, requests: int, seed: int, notes: list[str]) -> list[float]:
    """Seconds from the beginning at which each request is due, rising; the same for a seed.

    A trace that is shorter than `requests` gives fewer times. What is left out is told in `notes`.

    Raises:
        PlanError: a trace cannot be used.
    """
    if arrivals.file is not None:
        trace = read_trace(arrivals.file)
        if trace.broken:
            notes.append(f"trace: {trace.broken} broken lines left out")
        if len(trace.times) < requests:
            notes.append(f"trace: {len(trace.times)} arrivals for {requests} conversations")
        return [time / arrivals.speed for time in trace.times[:requests]]
    rng = random.Random(f"arrivals:{seed}")
    return list(_times(arrivals, requests, rng))


def _times(arrivals: Arrivals, requests: int, rng: random.Random) -> Iterator[float]:
    first = rate = arrivals.rate or 1.0
    if arrivals.kind == "burst":
        yield from (place // arrivals.size * arrivals.size / rate for place in range(requests))
        return
    now = 0.0
    for place in range(requests):
        yield now
        if arrivals.kind == "ramp":
            share, last = place / max(requests - 1, 1), arrivals.to or first
            rate = sqrt(first**2 + share * (last**2 - first**2))  # even in time, not in requests
        now += 1 / rate if arrivals.kind == "constant" else rng.expovariate(rate)
