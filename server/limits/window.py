"""How much of a limit is used: arithmetic on numbers, without a clock or a store.

A sliding window of two counters. Spans of time lie side by side; what was used in the previous one
counts for the share of it that a window ending now still covers. What exceeds a limit, because a
request thought more than was reserved for it, is carried into the next spans until it is paid off.
"""

from math import ceil
from typing import NamedTuple

from server.config.api_key_settings import Limit

_ROUNDING = 1e-6


class Window(NamedTuple):
    """The use of one limit.

    Attributes:
        span: the number of the present span since 1970.
        current: used in it.
        previous: used in the one before.
    """

    span: int = 0
    current: float = 0
    previous: float = 0


def moved(window: Window, limit: Limit, now: float) -> Window:
    """The window at a later time, in Unix seconds; unchanged where the clock went back."""
    span = int(now // limit.seconds)
    if span <= window.span:
        return window
    left = window.current - (span - window.span - 1) * limit.most
    return Window(span, max(0, left - limit.most), min(max(0, left), limit.most))


def charged(window: Window, amount: float, span: int | None = None) -> Window:
    """The window with an amount more; a negative one is given back to the span that it was from.

    Nothing is given back to a span that no longer counts.
    """
    present, current, previous = window
    if amount >= 0:
        return Window(present, current + amount, previous)
    if span == present:
        return Window(present, max(0, current + amount), previous)
    if span == present - 1:
        return Window(present, current, max(0, previous + amount))
    return window


def used(window: Window, limit: Limit, now: float) -> float:
    """What counts at a time of the window's span."""
    if not window.previous:
        return window.current
    return window.previous * (1 - _elapsed(window, limit, now)) + window.current


def fits(window: Window, limit: Limit, now: float, amount: float) -> bool:
    """Whether the limit leaves room for an amount, and in any case for one."""
    return used(window, limit, now) + max(amount, 1) <= limit.most + _ROUNDING


def wait_seconds(window: Window, limit: Limit, now: float, amount: float) -> float:
    """Seconds until an amount fits, if nothing else is charged meanwhile."""
    room = limit.most - min(max(amount, 1), limit.most)
    elapsed = _elapsed(window, limit, now)
    if window.current <= room:
        return max(0.0, _decay(window.previous, window.current, room) - elapsed) * limit.seconds
    spans = ceil((window.current - room) / limit.most)
    left = window.current - (spans - 1) * limit.most
    share = _decay(min(left, limit.most), max(0, left - limit.most), room)
    return (spans - elapsed + share) * limit.seconds


def reset_seconds(window: Window, limit: Limit, now: float) -> float:
    """Seconds until nothing is used, if nothing else is charged meanwhile."""
    spans = ceil(window.current / limit.most) + 1 if window.current else bool(window.previous)
    return max(0.0, spans - _elapsed(window, limit, now)) * limit.seconds


def _elapsed(window: Window, limit: Limit, now: float) -> float:
    """The share of the span that has passed."""
    share = now / limit.seconds - window.span
    return share if 0.0 <= share <= 1.0 else float(share > 0.0)


def _decay(previous: float, current: float, room: float) -> float:
    """The share of a span after which both together are within the room."""
    return 0.0 if previous <= 0 else max(0.0, 1 - (room - current) / previous)
