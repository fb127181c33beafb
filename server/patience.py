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
    """Has waits of at most so many seconds, any number at once.

    `begun` are the present ones, oldest first, and when each began; `looking` whether a timer is
    set that will look at them.
    """

    def __init__(self, seconds: float) -> None:
        self.begun: dict[Wait, float] = {}
        self.looking = False
        self._seconds = seconds

    def wait(self) -> "Wait":
        """A wait of the current task."""
        return Wait(self)

    def look(self) -> None:
        """End the waits that took too long; look again when the oldest of the others will have."""
        self.looking = False
        while self.begun:
            wait, begun = next(iter(self.begun.items()))
            left = begun + self._seconds - monotonic()
            if left > _EARLY:
                asyncio.get_running_loop().call_later(left, self.look)
                self.looking = True
                return
            del self.begun[wait]
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
        patience = self._patience
        patience.begun[self] = monotonic()
        if not patience.looking:
            patience.look()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patience.begun.pop(self, None)
        if self._over and kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise TimeoutError from error

    def give_up(self) -> None:
        """Cancel what is waited for."""
        self._over = True
        self._task.cancel()
