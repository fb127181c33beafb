"""Sends a plan's conversations: in a closed loop, or in an open one at the times they are due."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence

from loadtest.client import Sender
from loadtest.plan import Plan, PlanError
from loadtest.record import Record
from loadtest.workload import Task

_SHOW_SECONDS = 0.5


async def run(plan: Plan, tasks: Sequence[Task], due: Sequence[float] | None) -> list[Record]:
    """Have every conversation; progress goes to standard error.

    `due` are seconds from the beginning, one a task; None is a closed loop.

    Raises:
        PlanError: the environment has no API key under the plan's name.
    """
    key = os.environ.get(plan.api_key_env) if plan.api_key_env else None
    if plan.api_key_env and not key:
        raise PlanError(f"api_key_env: the environment has no {plan.api_key_env}")
    progress = _Progress(len(tasks))
    async with Sender(plan, key, plan.concurrency if due is None else None) as sender:
        if due is None:
            await _closed(sender, plan.concurrency, tasks, progress)
        else:
            await _open(sender, tasks, due, progress)
    print(file=sys.stderr)
    return progress.records


async def _closed(
    sender: Sender, concurrency: int, tasks: Sequence[Task], progress: "_Progress"
) -> None:
    """So many clients, each asking again once answered."""
    waiting = iter(tasks)

    async def work() -> None:
        for task in waiting:
            progress.note(await sender.converse(task))

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def _open(
    sender: Sender, tasks: Sequence[Task], due: Sequence[float], progress: "_Progress"
) -> None:
    """Each when it is due, however many are under way: a slow server cannot slow the asking."""
    begun = time.perf_counter()

    async def work(task: Task, at: float) -> None:
        progress.note(await sender.converse(task, at))

    async with asyncio.TaskGroup() as group:
        for task, offset in zip(tasks, due, strict=True):
            at = begun + offset
            await asyncio.sleep(max(at - time.perf_counter(), 0))
            group.create_task(work(task, at))


class _Progress:
    """The records so far, and a line about them now and then."""

    def __init__(self, total: int) -> None:
        self.records: list[Record] = []
        self._done, self._total = 0, total
        self._begun = self._shown = time.monotonic()

    def note(self, records: Sequence[Record]) -> None:
        self.records += records
        self._done += 1
        now = time.monotonic()
        if now - self._shown < _SHOW_SECONDS and self._done < self._total:
            return
        self._shown = now
        rate = self._done / (now - self._begun)
        left = (self._total - self._done) / rate
        errors = sum(record.error is not None for record in self.records)
        told = f"{self._done}/{self._total} conversations, {rate:.1f}/s, {errors} errors"
        print(f"\r{told}, {left:.0f} s left  ", end="", file=sys.stderr, flush=True)
