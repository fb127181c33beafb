"""How the engine's load makes thinking dearer: from a measured load to a pressure from 0 to 1.

Pressure adds to the price of tokens and lowers budgets. While it is above 0, the promise of mode
`quality` is suspended: the operator chose shorter queues over the last points of accuracy.
"""

from dataclasses import dataclass

_LAG = 1.25
"""Pressure falls only as far as a load so many times the measured one would have raised it."""
_LEAST_SHARE = 0.5
"""The share of a budget that full pressure leaves."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine is under: requests in flight, and seconds until a request's first token."""

    in_flight: int = 0
    wait_seconds: float = 0.0


IDLE = Load()


@dataclass(frozen=True, slots=True)
class Limits:
    """The load at which pressure begins; at twice that it is full. None: never."""

    in_flight: int | None = None
    wait_seconds: float | None = None

    def pressure(self, load: Load, scale: float = 1.0) -> float:
        """The pressure of `scale` times a load, without memory: the worse of the two signs."""
        return max(
            _ramp(scale * load.in_flight, self.in_flight),
            _ramp(scale * load.wait_seconds, self.wait_seconds),
        )


class Pressure:
    """Pressure with hysteresis: it follows a rising load at once and a falling one with a lag.

    A load that swings by less than a quarter moves it once, not with every swing.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._now = 0.0

    def update(self, load: Load) -> float:
        """The pressure after this load."""
        least, most = self._limits.pressure(load), self._limits.pressure(load, _LAG)
        self._now = min(max(self._now, least), most)
        return self._now


def lowered(budget: int | None, pressure: float) -> int | None:
    """A router's budget under pressure: all of it at 0, half of it at 1."""
    return None if budget is None else round(budget * (1.0 - (1.0 - _LEAST_SHARE) * pressure))


def _ramp(value: float, start: float | None) -> float:
    return 0.0 if start is None else min(max(value / start - 1.0, 0.0), 1.0)
