"""Arrival times of requests; they do not depend on the server's answers (an open loop)."""

import random
from collections.abc import Iterator
from math import sqrt

from loadtest.plan import Arrivals
from loadtest.traces import read_trace


def schedule(arrivals: Arrivals, requests: int, seed: int, notes: list[str]) -> list[float]:
    """Seconds from the start at which each request is sent, ascending; fixed by `seed`.

    A trace with fewer than `requests` arrivals gives fewer times. `notes` receives a sentence for
    everything that is omitted.

    Raises:
        PlanError: the trace cannot be used.
    """
    if arrivals.file is not None:
        trace = read_trace(arrivals.file)
        if trace.broken_lines:
            notes.append(f"trace: {trace.broken_lines} broken lines omitted")
        if len(trace.times) < requests:
            notes.append(f"trace: {len(trace.times)} arrivals for {requests} conversations")
        return [time / arrivals.speed for time in trace.times[:requests]]
    rng = random.Random(f"arrivals:{seed}")
    return list(_times(arrivals, requests, rng))


def _times(arrivals: Arrivals, requests: int, rng: random.Random) -> Iterator[float]:
    initial = rate = arrivals.rate or 1.0
    if arrivals.kind == "burst":
        size = arrivals.burst_size
        yield from (index // size * size / rate for index in range(requests))
        return
    now = 0.0
    for index in range(requests):
        yield now
        if arrivals.kind == "ramp":
            share, final = index / max(requests - 1, 1), arrivals.final_rate or initial
            rate = sqrt(initial**2 + share * (final**2 - initial**2))  # linear in time
        now += 1 / rate if arrivals.kind == "constant" else rng.expovariate(rate)
