"""How busy the load generator itself is, since a busy one measures its own delays."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtest.intervals import percentile

_PERIOD_SECONDS = 0.05
_WINDOW_SECONDS = 1.0
_MAX_CORE_SHARE = 0.9
"""The generator is one thread: at a whole core it sends and reads no faster."""
_MAX_DELAY_SECONDS = 0.1


@dataclass
class GeneratorLoad:
    """CPU time and delays of the generator's process during a run.

    Attributes:
        core_share: share of one CPU core in the busiest second so far.
        delays: seconds by which the event loop resumed too late, twenty times per second.
    """

    core_share: float = 0.0
    delays: list[float] = field(default_factory=list[float])

    async def watch(self) -> None:
        """Add delays, and windows of a second, until cancelled; a shorter run is one window."""
        start, start_cpu = time.perf_counter(), time.process_time()
        try:
            while True:
                due = time.perf_counter() + _PERIOD_SECONDS
                await asyncio.sleep(_PERIOD_SECONDS)
                now = time.perf_counter()
                self.delays.append(now - due)
                if now - start >= _WINDOW_SECONDS:
                    self._add_window(now - start, time.process_time() - start_cpu)
                    start, start_cpu = now, time.process_time()
        finally:
            if not self.core_share:
                self._add_window(time.perf_counter() - start, time.process_time() - start_cpu)

    def note(self, start_delays: Sequence[float]) -> str:
        """Whether the generator was the bottleneck, as a sentence.

        Args:
            start_delays: seconds from each request's scheduled time to when it was sent.
        """
        delay, start_delay = (
            percentile(delays, 99).value if delays else 0.0
            for delays in (self.delays, start_delays)
        )
        measured = (
            f"{self.core_share:.0%} of a core in its busiest second, its event loop up to "
            f"{1000 * delay:.0f} ms late (p99), requests up to {1000 * start_delay:.0f} ms (p99)"
        ).replace("%", " %")
        if self.core_share < _MAX_CORE_SHARE and max(delay, start_delay) < _MAX_DELAY_SECONDS:
            return f"the load generator was not the bottleneck: {measured}"
        return (
            f"the load generator was the bottleneck: {measured}; send less, or run several at once "
            "on more cores"
        )

    def _add_window(self, seconds: float, cpu_seconds: float) -> None:
        self.core_share = max(self.core_share, cpu_seconds / seconds)
