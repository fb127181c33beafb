"""Time-outs of equal length that share one timer.

`asyncio.timeout`, and the HTTP client's own time-outs, create a timer each: 5 % of the CPU time of
a request (docs/benchmarks/gateway.md).
"""

import asyncio
from time import monotonic
from types import TracebackType

_TIMER_TOLERANCE = 0.001
"""Seconds by which the event loop may call a timer early."""


class TimeoutPool:
    """Time-outs after the same number of seconds, any number at once.

    `active` are the time-outs that run now; `is_scheduled` says whether a timer is set to check
    them.
    """

    def __init__(self, seconds: float) -> None:
        self.active: set[Timeout] = set()
        self.is_scheduled = False
        self._seconds = seconds

    def timeout(self) -> "Timeout":
        """A time-out of the current task."""
        return Timeout(self)

    def deadline(self) -> "Deadline":
        """A time-out of the current task that is not running yet."""
        return Deadline(self)

    def check(self) -> None:
        """Expire the time-outs that are due; check again when the oldest of the others is."""
        latest_start = monotonic() - self._seconds + _TIMER_TOLERANCE
        for timeout in [timeout for timeout in self.active if timeout.started <= latest_start]:
            self.active.remove(timeout)
            timeout.expire()
        self.is_scheduled = bool(self.active)
        if self.is_scheduled:
            oldest = min(timeout.started for timeout in self.active)
            delay = oldest + self._seconds - monotonic()
            asyncio.get_running_loop().call_later(delay, self.check)


class Timeout:
    """A context like `asyncio.timeout`, which may be entered again and again.

    `started` is in seconds of `time.monotonic`; set it within the context to restart the time-out.

    Raises:
        TimeoutError: when the context is left, if it took too long.
    """

    __slots__ = ("_expired", "_pool", "_task", "started")

    def __init__(self, pool: TimeoutPool) -> None:
        task = asyncio.current_task()
        assert task is not None, "a time-out needs a task to cancel"
        self.started = 0.0
        self._task = task
        self._pool = pool
        self._expired = False

    def __enter__(self) -> None:
        self.start()

    def start(self, elapsed: float = 0.0) -> None:
        """Start the time-out, within the context or by entering it, as if so many seconds ago."""
        pool = self._pool
        self.started = monotonic() - elapsed
        pool.active.add(self)
        if not pool.is_scheduled:
            pool.check()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.active.discard(self)
        if self._expired and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task that is in the context."""
        self._expired = True
        self._task.cancel()


class Deadline(Timeout):
    """A time-out that runs once it is resumed, within its context; pauses do not count."""

    __slots__ = ("_elapsed",)

    def __init__(self, pool: TimeoutPool) -> None:
        super().__init__(pool)
        self._elapsed = 0.0

    def __enter__(self) -> None:
        pass

    def resume(self) -> None:
        """Start the time-out, or go on after a pause."""
        self.start(self._elapsed)

    def pause(self) -> None:
        """Stop the time-out, if it runs, until it is resumed."""
        if self in self._pool.active:
            self._pool.active.remove(self)
            self._elapsed = monotonic() - self.started
