"""The event of connections and requests, which uvicorn uses in place of its own."""

import asyncio
from contextlib import suppress

import pytest

from server.http.light_event import Event


async def started(event: Event) -> asyncio.Task[None]:
    task = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("waiting", [1, 3])
def test_all_that_wait_go_on_when_it_is_set_even_if_it_is_cleared_at_once(waiting: int) -> None:
    async def main() -> None:
        event = Event()
        tasks = [await started(event) for _ in range(waiting)]
        assert not any(task.done() for task in tasks)
        event.set()
        event.clear()
        await asyncio.gather(*tasks)
        later = await started(event)
        assert not later.done()
        event.set()
        await later

    asyncio.run(asyncio.wait_for(main(), 60))


def test_nobody_waits_while_it_is_set() -> None:
    async def main() -> None:
        event = Event(is_set=True)
        await event.wait()
        await event.wait()
        event.clear()
        task = await started(event)
        assert not task.done()
        event.set()
        await task

    asyncio.run(asyncio.wait_for(main(), 60))


def test_one_that_gave_up_waiting_is_passed_over() -> None:
    async def main() -> None:
        event = Event()
        gave_up, other = await started(event), await started(event)
        gave_up.cancel()
        with suppress(asyncio.CancelledError):
            await gave_up
        event.set()
        await other

    asyncio.run(asyncio.wait_for(main(), 60))
