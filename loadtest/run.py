"""When requests go out: a closed loop of so many clients, each asking again once answered."""

import asyncio
import os
import sys
import time

import httpx

from loadtest.client import Record, measure
from loadtest.plan import Plan, PlanError
from loadtest.workload import Task

_SHOW_EVERY = 20


async def run_closed_loop(plan: Plan, tasks: list[Task]) -> list[Record]:
    """Make every request, `plan.concurrency` at a time; progress goes to standard error.

    Raises:
        PlanError: the environment has no API key under the plan's name.
    """
    headers: dict[str, str] = {}
    if plan.api_key_env:
        key = os.environ.get(plan.api_key_env)
        if not key:
            raise PlanError(f"api_key_env: the environment has no {plan.api_key_env}")
        headers["authorization"] = f"Bearer {key}"
    limits = httpx.Limits(max_connections=plan.concurrency)
    waiting, records, begun = iter(tasks), list[Record](), time.monotonic()

    async with httpx.AsyncClient(
        headers=headers, timeout=plan.timeout_seconds, limits=limits
    ) as http:

        async def work() -> None:
            for task in waiting:
                records.append(await measure(http, plan, task))
                if len(records) % _SHOW_EVERY == 0 or len(records) == len(tasks):
                    _show_progress(len(records), len(tasks), time.monotonic() - begun)

        await asyncio.gather(*(work() for _ in range(plan.concurrency)))
    print(file=sys.stderr)
    return records


def _show_progress(done: int, total: int, seconds: float) -> None:
    rate = done / seconds
    line = f"\r{done}/{total} requests, {rate:.1f}/s, {(total - done) / rate:.0f} s left  "
    print(line, end="", file=sys.stderr, flush=True)
