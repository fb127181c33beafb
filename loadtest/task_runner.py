"""Runs a plan's tasks, in a closed loop or in an open loop at scheduled times."""

import asyncio
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from loadtest.client import Sender
from loadtest.plan import Plan
from loadtest.progress import Progress
from loadtest.record import Record
from loadtest.workload import Task

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def run(
    plan: Plan,
    tasks: Sequence[Task],
    scheduled: Sequence[float] | None,
    progress: Progress | None = None,
) -> list[Record]:
    """Run every conversation; returns the records of all requests.

    SIGINT and SIGTERM end the run early: requests in flight are cancelled, and
    `progress.stopped` is set.

    Args:
        plan: the run's.
        tasks: in the order in which they start.
        scheduled: seconds from the start, one per task; None is a closed loop.
        progress: receives the records as they come.

    Raises:
        PlanError: the environment variable with the API key is not set.
    """
    progress = progress or Progress(len(tasks))
    async with Sender(plan, plan.concurrency if scheduled is None else None) as sender:
        if scheduled is None:
            sending = asyncio.create_task(_run_closed(sender, plan.concurrency, tasks, progress))
        else:
            sending = asyncio.create_task(_run_open(sender, tasks, scheduled, progress))
        watching = [
            asyncio.create_task(coroutine)
            for coroutine in (progress.show(), progress.generator.watch())
        ]
        with _stop_on_signals(sending, progress):
            await asyncio.wait({sending})
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
    if not sending.cancelled():
        sending.result()
    return progress.records


async def _run_closed(
    sender: Sender, concurrency: int, tasks: Sequence[Task], progress: Progress
) -> None:
    """A fixed number of clients; each starts a conversation once its previous one ended."""
    remaining = iter(tasks)

    async def client() -> None:
        for task in remaining:
            await _run_task(sender, task, progress)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())


async def _run_open(
    sender: Sender, tasks: Sequence[Task], scheduled: Sequence[float], progress: Progress
) -> None:
    """Start each conversation at its time: a slow server cannot reduce the load."""
    started = time.perf_counter()

    async with asyncio.TaskGroup() as group:
        for task, offset in zip(tasks, scheduled, strict=True):
            start = started + offset
            await asyncio.sleep(max(start - time.perf_counter(), 0))
            group.create_task(_run_task(sender, task, progress, start))


async def _run_task(
    sender: Sender, task: Task, progress: Progress, scheduled: float | None = None
) -> None:
    progress.started += 1
    async for record in sender.run_conversation(task, scheduled):
        progress.add(record)
    progress.finished += 1


@contextmanager
def _stop_on_signals(sending: "asyncio.Task[None]", progress: Progress) -> Generator[None]:
    """While the block runs, SIGINT and SIGTERM cancel the sending and not the process."""

    def stop() -> None:
        progress.stopped = True
        sending.cancel()

    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
