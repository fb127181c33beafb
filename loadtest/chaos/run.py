"""A chaos run: measure the capacity, break things at half of it, end the gateway under load."""

import asyncio
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.arrivals import schedule
from loadtest.chaos.evidence import Ending, Evidence, Taken
from loadtest.chaos.stand import Engine, Gateway, stand
from loadtest.conversations import read_conversations
from loadtest.plan import Arrivals, Clients, Plan
from loadtest.problem import Conversation, Problem
from loadtest.progress import Progress
from loadtest.record import Record
from loadtest.run import run
from loadtest.workload import Task, plan_tasks

_SHARE_OF_CAPACITY = 0.5
_CAPACITY_CLIENTS = 32
_DOWN_SECONDS = 1.0
_SCRAPE_SECONDS = 1.0
_REST_SECONDS = 20.0
_LAST_SECONDS = 4.0
_OPEN_STREAMS = ("think=20 chunks=60 rate=40", "endless rate=20")
_STREAMS_EACH = 6


@dataclass(frozen=True)
class Scale:
    """How long things take: the faults' load, the engine's stall, the gateway's draining."""

    seconds: float = 60.0
    stall_seconds: float = 10.0
    drain_seconds: float = 5.0


class Stopped(Exception):  # noqa: N818 - named for what it is
    """Somebody ended a chaos run."""


async def chaos(plan: Plan, scale: Scale) -> Evidence:
    """Run it against an engine and a gateway of its own; needs Linux.

    Of the plan's arrivals only the kind is used: their rate is half of the capacity found.

    Raises:
        PlanError: the plan's problems cannot be read.
        Stopped: SIGINT or SIGTERM came.
    """
    with tempfile.TemporaryDirectory(prefix="tops-chaos-") as name:
        async with stand(Path(name), scale.drain_seconds) as (engine, gateway):
            plan = plan.model_copy(update={"url": f"{gateway.url}/v1", "model": "fake"})
            rate = _SHARE_OF_CAPACITY * await _capacity(plan)
            _tell(f"half of the capacity is {rate:.1f} requests/s; breaking things at that")
            await _rested(engine, gateway)
            before = Taken(gateway.resident(), gateway.descriptors())
            async with _scraping(gateway) as scrapes:
                breaking = asyncio.create_task(_break(scale, engine, gateway))
                records = await _load(plan, rate, scale.seconds)
                await breaking
                running = await _rested(engine, gateway, before)
            after = Taken(gateway.resident(), gateway.descriptors())
            async with httpx.AsyncClient(timeout=_REST_SECONDS) as http:
                metrics = await gateway.metrics(http)
            at_rest = len(gateway.closed)
            _tell("at rest; SIGTERM with streams open")
            last, ending = await _end(plan, rate, scale, gateway)
            return Evidence(
                records=[*records, *last],
                closed=list(gateway.closed),
                whole=engine.whole(),
                ledger=gateway.ledger(),
                at_rest=at_rest,
                metrics=metrics,
                engine_running=running,
                before=before,
                after=after,
                scrapes=scrapes,
                stall_seconds=scale.stall_seconds,
                ledger_refused=gateway.ledger_refused,
                ending=ending,
                oddities=list(gateway.oddities),
            )


async def _capacity(plan: Plan) -> float:
    """Requests a second that generator, gateway and engine manage together on this machine."""
    plan = plan.model_copy(
        update={"arrivals": Arrivals(), "clients": Clients(), "concurrency": _CAPACITY_CLIENTS}
    )
    conversations = read_conversations(plan.problems.model_copy(update={"n": None}), [])
    tasks = plan_tasks(plan, conversations * 12)
    begun = time.perf_counter()
    await _run(plan, tasks)
    return len(tasks) / (time.perf_counter() - begun)


async def _load(plan: Plan, rate: float, seconds: float) -> list[Record]:
    n = max(round(rate * seconds), 1)
    arrivals = plan.arrivals.model_copy(update={"rate": rate})
    conversations = read_conversations(plan.problems.model_copy(update={"n": n}), [])
    return await _run(plan, plan_tasks(plan, conversations), schedule(arrivals, n, plan.seed, []))


async def _run(
    plan: Plan,
    tasks: Sequence[Task],
    due: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Raises Stopped; a run that was stopped proves nothing."""
    progress = progress or Progress(len(tasks))
    records = await run(plan, tasks, due, progress)
    if progress.stopped:
        raise Stopped
    return records


async def _break(scale: Scale, engine: Engine, gateway: Gateway) -> None:
    """The faults, one after the other; the disk is full around the stall."""
    begun = time.perf_counter()

    async def until(share: float) -> None:
        await asyncio.sleep(max(begun + share * scale.seconds - time.perf_counter(), 0))

    await until(0.1)
    _tell("the engine is killed")
    engine.kill()
    await asyncio.sleep(_DOWN_SECONDS)
    engine.start()
    await until(0.3)
    _tell("the engine is back; the ledger's disk is full")
    gateway.fill_disk()
    await until(0.5)
    _tell("the engine stalls")
    engine.freeze()
    try:
        await asyncio.sleep(scale.stall_seconds)
    finally:
        engine.thaw()
    await until(0.8)
    _tell("the disk has room again")
    gateway.free_disk()


@asynccontextmanager
async def _scraping(gateway: Gateway) -> AsyncGenerator[list[float | None]]:
    """The times of scrapes, one a second while the block runs; None where one failed.

    They are made in a thread: this one has the clients, whose work is not to count.
    """
    took: list[float | None] = []
    done = threading.Event()

    def scrape() -> None:
        with httpx.Client(timeout=_REST_SECONDS) as http:
            while not done.is_set():
                begun = time.perf_counter()
                try:
                    http.get(f"{gateway.url}/metrics").raise_for_status()
                    took.append(time.perf_counter() - begun)
                except httpx.HTTPError:
                    took.append(None)
                done.wait(max(begun + _SCRAPE_SECONDS - time.perf_counter(), 0))

    scraping = threading.Thread(target=scrape)
    scraping.start()
    try:
        yield took
    finally:
        done.set()
        await asyncio.to_thread(scraping.join)


async def _rested(engine: Engine, gateway: Gateway, before: Taken | None = None) -> int:
    """Wait until nothing is in flight, written or kept open any more, as long as that may take.

    Returns how many requests the engine still has.
    """
    deadline, running = time.monotonic() + _REST_SECONDS, -1
    async with httpx.AsyncClient(timeout=_REST_SECONDS) as http:
        while time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            running = (await http.get(f"{engine.url}/counts")).json()["running"]
            metrics = await gateway.metrics(http)
            decided = sum(one.decided for one in gateway.closed)
            written = metrics.get("tops_ledger_rows_total", 0.0) >= decided
            closed = before is None or gateway.descriptors() <= before.descriptors
            if running == 0 and metrics["tops_in_flight"] == 0 and written and closed:
                break
    return running


async def _end(
    plan: Plan, rate: float, scale: Scale, gateway: Gateway
) -> tuple[list[Record], Ending]:
    """SIGTERM in the middle of more load, with streams open that would end in time and that not."""
    streams: list[Conversation] = [
        (Problem(f"open {place}", prompt),)
        for prompt in _OPEN_STREAMS
        for place in range(_STREAMS_EACH)
    ]
    waiting = plan.model_copy(update={"clients": Clients()})
    opened = Progress(len(streams))
    tasks, at_once = plan_tasks(waiting, streams), [0.0] * len(streams)
    holding = asyncio.create_task(_run(waiting, tasks, at_once, opened))
    loading = asyncio.create_task(_load(plan, rate, _LAST_SECONDS))
    await asyncio.sleep(_LAST_SECONDS / 4)
    still_open = len(streams) - opened.finished
    begun = time.perf_counter()
    gateway.process.send_signal(signal.SIGTERM)
    status = await gateway.stopped(scale.drain_seconds + _REST_SECONDS)
    seconds = time.perf_counter() - begun
    records: Sequence[Record] = [*await holding, *await loading]
    return list(records), Ending(status, seconds, scale.drain_seconds, still_open)


def _tell(text: str) -> None:
    print(f"chaos: {text}", file=sys.stderr, flush=True)
