"""Waits that take too long are ended, and no others."""

import asyncio
import time

import pytest

from server.http.timeouts import TimeoutPool, Wait

LONG = 30.0


async def waited(wait: Wait, seconds: float) -> float:
    """How long it was until the wait was ended."""
    begun = time.monotonic()
    with pytest.raises(TimeoutError), wait:
        await asyncio.sleep(seconds)
    return time.monotonic() - begun


def test_a_wait_is_ended_when_it_took_too_long() -> None:
    async def main() -> None:
        patience = TimeoutPool(0.2)
        assert 0.19 <= await waited(patience.wait(), LONG) < LONG / 2
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    asyncio.run(main())


def test_each_wait_has_its_own_time() -> None:
    async def one(patience: TimeoutPool, delay: float) -> float:
        await asyncio.sleep(delay)
        return await waited(patience.wait(), LONG)

    async def main() -> list[float]:
        patience = TimeoutPool(0.3)
        return await asyncio.gather(*(one(patience, delay) for delay in (0.0, 0.1, 0.2)))

    assert all(0.29 <= seconds < LONG / 2 for seconds in asyncio.run(main()))


def test_one_that_is_entered_again_begins_anew() -> None:
    async def main() -> None:
        patience = TimeoutPool(0.5)
        wait = patience.wait()
        for _ in range(6):
            with wait:
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.6)  # nobody waits: there is nothing to end
        assert not patience.waits and not patience.looking
        assert await waited(wait, LONG) < LONG / 2

    asyncio.run(main())


def test_who_cancels_the_task_is_not_taken_for_the_end_of_patience() -> None:
    async def main() -> None:
        patience = TimeoutPool(LONG)

        async def work() -> None:
            with patience.wait():
                await asyncio.sleep(LONG)

        task = asyncio.create_task(work())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not patience.waits

    asyncio.run(main())
