"""Clients' connections without a request, which are closed after a while; they share one timer.

uvicorn sets and cancels a timer for each request: 3 % of the CPU time of a request.
"""

import asyncio
from time import monotonic
from typing import Protocol

_TIMER_TOLERANCE = 0.001
"""Seconds by which the event loop may call a timer early."""


class Idle(Protocol):
    """A connection that is told when it has been idle for too long."""

    def timeout_keep_alive_handler(self) -> None: ...


class IdleConnections:
    """Connections, by the time since when they are idle; all have the same number of seconds."""

    def __init__(self) -> None:
        self._since: dict[Idle, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Idle, seconds: float) -> None:
        """Note that a connection, which is none of these, is idle from now on."""
        self._since[connection] = monotonic()
        if self._timer is None:
            self._set_timer(seconds, seconds)

    def discard(self, connection: Idle) -> None:
        self._since.pop(connection, None)

    def _set_timer(self, delay: float, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._check, seconds)

    def _check(self, seconds: float) -> None:
        self._timer = None
        expired = monotonic() - seconds + _TIMER_TOLERANCE
        for connection in [idle for idle, since in self._since.items() if since <= expired]:
            self.discard(connection)
            connection.timeout_keep_alive_handler()
        if self._since and self._timer is None:
            self._set_timer(next(iter(self._since.values())) - expired, seconds)
