"""Sends a plan's requests: in a closed loop, or in an open one at the times they are due."""

import asyncio
import os
import sys
import time

import httpx

from loadtest.arrivals import due
from loadtest.client import Record, measure
from loadtest.plan import Plan, PlanError
from loadtest.workload import Task

_SHOW_EVERY = 20


async def run(plan: Plan, tasks: list[Task]) -> list[Record]:
    """Make every request; progress goes to standard error.

    Raises:
        PlanError: the environment has no API key under the plan's name.
    """
    headers: dict[str, str] = {}
    if plan.api_key_env:
        key = os.environ.get(plan.api_key_env)
        if not key:
            raise PlanError(f"api_key_env: the environment has no {plan.api_key_env}")
        headers["authorization"] = f"Bearer {key}"
    closed = plan.arrivals.kind == "closed"
    limits = httpx.Limits(max_connections=plan.concurrency if closed else None)
    async with httpx.AsyncClient(
        headers=headers, timeout=plan.timeout_seconds, limits=limits
    ) as http:
        records = await (_closed if closed else _open)(http, plan, tasks)
    print(file=sys.stderr)
    return records


async def _closed(http: httpx.AsyncClient, plan: Plan, tasks: list[Task]) -> list[Record]:
    """So many clients, each asking again once answered."""
    waiting, progress = iter(tasks), _Progress(len(tasks))

    async def work() -> None:
        for task in waiting:
            progress.note(await measure(http, plan, task))

    await asyncio.gather(*(work() for _ in range(plan.concurrency)))
    return progress.records


async def _open(http: httpx.AsyncClient, plan: Plan, tasks: list[Task]) -> list[Record]:
    """Each when it is due, however many are under way: a slow server cannot slow the asking."""
    progress, begun = _Progress(len(tasks)), time.perf_counter()

    async def work(task: Task, at: float) -> None:
        progress.note(await measure(http, plan, task, at))

    async with asyncio.TaskGroup() as group:
        for task, offset in zip(tasks, due(plan.arrivals, len(tasks), plan.seed), strict=True):
            at = begun + offset
            await asyncio.sleep(max(at - time.perf_counter(), 0))
            group.create_task(work(task, at))
    return progress.records


class _Progress:
    """The records so far, and a line about them."""

    def __init__(self, total: int) -> None:
        self.records: list[Record] = []
        self._total = total
        self._begun = time.monotonic()

    def note(self, record: Record) -> None:
        self.records.append(record)
        done = len(self.records)
        if done % _SHOW_EVERY == 0 or done == self._total:
            rate = done / (time.monotonic() - self._begun)
            left = (self._total - done) / rate
            line = f"\r{done}/{self._total} requests, {rate:.1f}/s, {left:.0f} s left  "
            print(line, end="", file=sys.stderr, flush=True)
