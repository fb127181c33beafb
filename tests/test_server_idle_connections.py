"""Idle connections share one timer, and each has its own time."""

import asyncio
from typing import Any

import pytest

from server.http.idle_connections import _TIMER_TOLERANCE, IdleConnections


class Connection:
    def __init__(self) -> None:
        self.closed_at: float | None = None

    def timeout_keep_alive_handler(self) -> None:
        self.closed_at = asyncio.get_running_loop().time()


def test_each_is_told_after_its_own_time_and_none_that_is_no_longer_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> tuple[int, list[float | None]]:
        loop, timers = asyncio.get_running_loop(), 0
        call_later = loop.call_later

        def counted(*arguments: Any) -> asyncio.TimerHandle:
            nonlocal timers
            timers += 1
            return call_later(*arguments)

        idle, connections = IdleConnections(), [Connection() for _ in range(100)]
        monkeypatch.setattr(loop, "call_later", counted)
        begun = loop.time()
        for connection in connections[:-1]:
            idle.add(connection, 0.4)
        await asyncio.sleep(0.2)
        idle.discard(connections[0])
        idle.discard(connections[1])
        idle.add(connections[1], 0.4)  # after another request
        idle.add(connections[-1], 0.4)
        await asyncio.sleep(0.8)
        closed = [connection.closed_at for connection in connections]
        return timers, [None if at is None else at - begun for at in closed]

    timers, (gone, again, *early, late) = asyncio.run(main())
    assert timers < 8  # two for the times, and those of the sleeps
    assert gone is None
    assert again is not None
    assert late is not None
    assert min(again, late) >= 0.6 - _TIMER_TOLERANCE
    assert min(at for at in early if at is not None) >= 0.39
    assert None not in early
