"""Something that is repeated at ever longer intervals: warnings of an outage, probes in vain."""

import time
from collections.abc import Callable


class Backoff:
    """Says when it is time again; the interval doubles each time, until `reset`.

    Args:
        delay_seconds: before the initial time.
        seconds: the shortest interval.
        max_seconds: the longest interval.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        delay_seconds: float,
        seconds: float,
        max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._delay_seconds, self._seconds, self._max_seconds = delay_seconds, seconds, max_seconds
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin anew with the delay."""
        self._interval = self._seconds
        self._due_at: float | None = None

    def due(self) -> bool:
        """Whether it is time; then the next time is an interval later."""
        now = self._clock()
        if self._due_at is None:
            self._due_at = now + self._delay_seconds
        if now < self._due_at:
            return False
        self._due_at = now + self._interval
        self._interval = min(2 * self._interval, self._max_seconds)
        return True
