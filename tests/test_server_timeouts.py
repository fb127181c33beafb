"""Time-outs of a pool end the waits that take too long, and no others."""

import asyncio

import pytest
from virtual_time import now, run

from server.http import timeouts
from server.http.timeouts import Timeout, TimeoutPool

LONG = 30.0


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "monotonic", now)


async def expired_after(context: Timeout) -> float:
    """Seconds until the time-out ended a sleep of LONG seconds."""
    started = now()
    with pytest.raises(TimeoutError), context:
        await asyncio.sleep(LONG)
    return now() - started


def test_a_wait_that_takes_too_long_is_ended() -> None:
    async def main() -> None:
        pool = TimeoutPool(0.2)
        assert await expired_after(pool.timeout()) == pytest.approx(0.2, abs=0.01)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    run(main())


def test_time_outs_of_a_pool_expire_independently() -> None:
    async def delayed(pool: TimeoutPool, delay: float) -> float:
        await asyncio.sleep(delay)
        return await expired_after(pool.timeout())

    async def main() -> list[float]:
        pool = TimeoutPool(0.3)
        return await asyncio.gather(*(delayed(pool, delay) for delay in (0.0, 0.1, 0.2)))

    assert run(main()) == pytest.approx([0.3] * 3, abs=0.01)


def test_a_time_out_that_is_entered_again_starts_anew() -> None:
    async def main() -> None:
        pool = TimeoutPool(0.5)
        timeout = pool.timeout()
        for _ in range(6):
            with timeout:
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.6)  # outside of the context nothing expires
        assert not pool.active and not pool.is_scheduled
        assert await expired_after(timeout) == pytest.approx(0.5, abs=0.01)

    run(main())


def test_a_cancelled_task_raises_no_time_out() -> None:
    async def main() -> None:
        pool, entered = TimeoutPool(LONG), asyncio.Event()

        async def wait() -> None:
            with pool.timeout():
                entered.set()
                await asyncio.sleep(LONG)

        task = asyncio.create_task(wait())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not pool.active

    run(main())


def test_a_deadline_runs_once_it_is_resumed_and_counts_no_pause() -> None:
    async def main() -> None:
        pool = TimeoutPool(0.3)
        with pool.deadline():
            await asyncio.sleep(0.4)  # never started
        deadline, began = pool.deadline(), now()
        with pytest.raises(TimeoutError), deadline:
            for _ in range(10):
                deadline.resume()
                await asyncio.sleep(0.05)
                deadline.pause()
                await asyncio.sleep(0.1)
        assert now() - began == pytest.approx(0.3 + 5 * 0.1, abs=0.06)
        assert not pool.active

    run(main())
