"""Pressure: how far an engine's load exceeds its limits, from 0 to 1.

Pressure adds to the price of tokens and lowers budgets. While it is above 0, mode `quality` does
not bound the loss of accuracy: the operator prefers shorter queues to the last points of accuracy.
"""

from dataclasses import dataclass

_LAG = 1.25
"""A falling load releases pressure as if it were this many times higher."""
_MIN_SHARE = 0.5
"""The share of a budget that full pressure leaves."""


@dataclass(frozen=True, slots=True)
class Load:
    """An engine's load: requests in flight, and seconds from a request to its first token."""

    in_flight: int = 0
    wait_seconds: float = 0.0


IDLE = Load()


@dataclass(frozen=True, slots=True)
class Limits:
    """The load at which pressure begins; at twice that it is 1. None: no limit."""

    in_flight: int | None = None
    wait_seconds: float | None = None

    def pressure(self, load: Load, scale: float = 1.0) -> float:
        """The pressure of `scale` times a load, without hysteresis: the larger of the two signs."""
        return max(
            _ramp(scale * load.in_flight, self.in_flight),
            _ramp(scale * load.wait_seconds, self.wait_seconds),
        )


class Pressure:
    """Pressure with hysteresis: it follows a rising load immediately and a falling one with a lag.

    A load that oscillates by less than a quarter changes the pressure once.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._has_none = limits, limits == Limits()
        self._now = 0.0

    def update(self, load: Load) -> float:
        """The pressure after a measurement of the load."""
        if self._has_none:
            return 0.0
        lowest, highest = self._limits.pressure(load), self._limits.pressure(load, _LAG)
        self._now = min(max(self._now, lowest), highest)
        return self._now


def lowered(budget: int | None, pressure: float) -> int | None:
    """A budget, in tokens, under pressure: unchanged at 0, half at 1."""
    return None if budget is None else round(budget * (1.0 - (1.0 - _MIN_SHARE) * pressure))


def _ramp(value: float, start: float | None) -> float:
    return 0.0 if start is None else min(max(value / start - 1.0, 0.0), 1.0)
