"""An event that is small while nobody waits for it."""

import asyncio
from collections.abc import Sequence


class Event:
    """As much of an `asyncio.Event` as uvicorn uses: 64 bytes instead of 1.1 KiB.

    Every connection has one, and every request.
    """

    __slots__ = ("_is_set", "_waiters")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiters: Sequence[asyncio.Future[None]] = ()

    def set(self) -> None:
        """Let all that wait go on, and all that will wait until it is cleared."""
        self._is_set = True
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Have those wait that will."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set, unless it is."""
        if not self._is_set:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters = (*self._waiters, waiter)
            await waiter
