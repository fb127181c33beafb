"""Ends waits that take too long, with one timer for all of them.

`asyncio.timeout`, and the HTTP client's own time-outs, make a timer for each: 5 % of the CPU that a
request takes (loadtest/BENCH.md).
"""

import asyncio
from time import monotonic
from types import TracebackType

_EARLY = 0.001
"""Seconds by which a timer may come before its time."""


class Patience:
    """Has waits of at most so many seconds, any number at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: dict[Wait, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> "Wait":
        """A wait of the current task."""
        return Wait(self)

    def begin(self, wait: "Wait") -> None:
        """Count a wait's seconds from now."""
        self._begun[wait] = monotonic()
        if self._timer is None:
            self._look_after(self._seconds)

    def end(self, wait: "Wait") -> None:
        """Count them no more."""
        self._begun.pop(wait, None)

    def _look_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """End the waits that took too long; look again when the oldest of the others will have."""
        self._timer = None
        while self._begun:
            wait, begun = next(iter(self._begun.items()))
            left = begun + self._seconds - monotonic()
            if left > _EARLY:
                self._look_after(left)
                return
            self.end(wait)
            wait.give_up()


class Wait:
    """One wait, a context as `asyncio.timeout` is; it may be entered again and again.

    Raises:
        TimeoutError: on leaving it, where it took too long.
    """

    def __init__(self, patience: Patience) -> None:
        task = asyncio.current_task()
        assert task is not None, "nobody waits"
        self._task = task
        self._patience = patience
        self._over = False

    def __enter__(self) -> None:
        self._patience.begin(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patience.end(self)
        if self._over and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise TimeoutError from error

    def give_up(self) -> None:
        """Cancel what is waited for."""
        self._over = True
        self._task.cancel()
