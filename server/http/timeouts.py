"""Ends waits that take too long, with one timer for all of them.

`asyncio.timeout`, and the HTTP client's own time-outs, make a timer for each: 5 % of the CPU that a
request takes (loadtest/BENCH.md).
"""

import asyncio
from time import monotonic
from types import TracebackType

_EARLY = 0.001
"""Seconds by which a timer may come before its time."""


class TimeoutPool:
    """Has waits of at most so many seconds, any number at once.

    `waits` are the present ones; `looking` whether a timer is set that will look at them.
    """

    def __init__(self, seconds: float) -> None:
        self.waits: set[Wait] = set()
        self.looking = False
        self._seconds = seconds

    def wait(self) -> "Wait":
        """A wait of the current task."""
        return Wait(self)

    def look(self) -> None:
        """End the waits that took too long; look again when the oldest of the others will have."""
        late = monotonic() - self._seconds + _EARLY
        for wait in [wait for wait in self.waits if wait.begun <= late]:
            self.waits.remove(wait)
            wait.expire()
        self.looking = bool(self.waits)
        if self.looking:
            left = min(wait.begun for wait in self.waits) + self._seconds - monotonic()
            asyncio.get_running_loop().call_later(left, self.look)


class Wait:
    """One wait, a context as `asyncio.timeout` is; it may be entered again and again.

    `begun` is when, as `time.monotonic` tells it; who sets it within the context begins anew.

    Raises:
        TimeoutError: on leaving it, where it took too long.
    """

    def __init__(self, patience: TimeoutPool) -> None:
        task = asyncio.current_task()
        assert task is not None, "nobody waits"
        self.begun = 0.0
        self._task = task
        self._patience = patience
        self._over = False

    def __enter__(self) -> None:
        patience = self._patience
        self.begun = monotonic()
        patience.waits.add(self)
        if not patience.looking:
            patience.look()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patience.waits.discard(self)
        if self._over and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel what is waited for."""
        self._over = True
        self._task.cancel()
