"""Sends a plan's conversations: in a closed loop, or in an open one at the times they are due."""

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

_STOPS = (signal.SIGINT, signal.SIGTERM)
STOPPED = 130
"""The status of a command that they ended, as a shell tells it of SIGINT."""


async def run(
    plan: Plan,
    tasks: Sequence[Task],
    due: Sequence[float] | None,
    progress: Progress | None = None,
) -> list[Record]:
    """Have every conversation; returns the records of the requests that were made.

    `due` are seconds from the beginning, one a task; None is a closed loop. SIGINT and SIGTERM end
    it early: what is under way then is given up, and `progress.stopped` is set.

    Raises:
        PlanError: the environment has no API key under the plan's name.
    """
    progress = progress or Progress(len(tasks))
    async with Sender(plan, plan.concurrency if due is None else None) as sender:
        if due is None:
            sending = asyncio.create_task(_closed(sender, plan.concurrency, tasks, progress))
        else:
            sending = asyncio.create_task(_open(sender, tasks, due, progress))
        showing = asyncio.create_task(progress.show())
        with _stopping(sending, progress):
            await asyncio.wait({sending})
        showing.cancel()
        await asyncio.wait({showing})
    if not sending.cancelled():
        sending.result()
    return progress.records


async def _closed(
    sender: Sender, concurrency: int, tasks: Sequence[Task], progress: Progress
) -> None:
    """So many clients, each asking again once answered."""
    waiting = iter(tasks)

    async def work() -> None:
        for task in waiting:
            await _have(sender, task, progress)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


async def _open(
    sender: Sender, tasks: Sequence[Task], due: Sequence[float], progress: Progress
) -> None:
    """Each when it is due, however many are under way: a slow server cannot slow the asking."""
    begun = time.perf_counter()

    async with asyncio.TaskGroup() as group:
        for task, offset in zip(tasks, due, strict=True):
            at = begun + offset
            await asyncio.sleep(max(at - time.perf_counter(), 0))
            group.create_task(_have(sender, task, progress, at))


async def _have(sender: Sender, task: Task, progress: Progress, due: float | None = None) -> None:
    """Have a conversation, each of its records noted as it is made."""
    progress.begun += 1
    async for record in sender.converse(task, due):
        progress.note(record)
    progress.had += 1


@contextmanager
def _stopping(sending: "asyncio.Task[None]", progress: Progress) -> Generator[None]:
    """While the block runs, signals that end a process end only the sending."""

    def stop() -> None:
        progress.stopped = True
        sending.cancel()

    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in _STOPS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)
