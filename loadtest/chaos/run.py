"""A chaos run: measures the capacity, injects faults at half of it, and ends the gateway."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.arrivals import schedule
from loadtest.chaos.engine_process import EngineProcess
from loadtest.chaos.evidence import Evidence, Shutdown
from loadtest.chaos.gateway_process import GatewayProcess
from loadtest.chaos.processes import engine_and_gateway
from loadtest.chaos.scraping import scraping
from loadtest.chaos.second_gateway import second_gateway
from loadtest.conversations import read_conversations
from loadtest.plan import Arrivals, Clients, Plan
from loadtest.problem import Conversation, Problem
from loadtest.process_usage import ProcessUsage
from loadtest.progress import Progress
from loadtest.record import Record
from loadtest.task_runner import run
from loadtest.workload import Task, plan_tasks

_SHARE_OF_CAPACITY = 0.5
_CAPACITY_CLIENTS = 32
_DOWN_SECONDS = 1.0
_REST_SECONDS = 20.0
_POLL_SECONDS = 0.2
_SHUTDOWN_LOAD_SECONDS = 4.0
_OPEN_STREAMS = ("think=20 chunks=60 rate=40", "endless rate=20")
"""Scripts of streams that end within the shutdown time-out, and of streams that do not."""

_STREAMS_PER_SCRIPT = 6


@dataclass(frozen=True)
class Scale:
    """The size of a run.

    Attributes:
        seconds: duration of the load with faults.
        stall_seconds: duration of the engine's stall.
        shutdown_timeout: the gateway's, in seconds.
        capacity_repeats: how often the capacity measurement sends each conversation.
    """

    seconds: float = 60.0
    stall_seconds: float = 10.0
    shutdown_timeout: float = 5.0
    capacity_repeats: int = 12


class StoppedError(Exception):
    """SIGINT or SIGTERM ended a chaos run."""


async def chaos(plan: Plan, scale: Scale) -> Evidence:
    """Start an engine and a gateway, break them under load, and record everything; needs Linux.

    Of the plan's arrivals only the kind is used: their rate is half of the measured capacity.

    Raises:
        PlanError: the plan's problems cannot be read.
        StoppedError: SIGINT or SIGTERM ended the run.
    """
    with tempfile.TemporaryDirectory(prefix="tops-chaos-") as name:
        async with engine_and_gateway(Path(name), scale.shutdown_timeout) as (engine, gateway):
            plan = plan.model_copy(update={"url": f"{gateway.url}/v1", "model": "fake"})
            rate = _SHARE_OF_CAPACITY * await _capacity(plan, scale.capacity_repeats)
            _report(f"injecting faults at {rate:.1f} requests/s, half of the capacity")
            await _wait_until_idle(engine, gateway)
            usage_before = gateway.usage()
            async with scraping(gateway.url) as scrapes:
                faults = asyncio.create_task(_inject_faults(scale, engine, gateway))
                records = await _load(plan, rate, scale.seconds)
                await faults
                engine_running = await _wait_until_idle(engine, gateway, usage_before)
            usage_at_rest = gateway.usage()
            async with httpx.AsyncClient(timeout=_REST_SECONDS) as http:
                metrics = await gateway.metrics(http)
            closed_at_rest = len(gateway.closed)
            _report("idle; a second gateway on the same ledger")
            second = await second_gateway(Path(name), plan, gateway)
            _report("sending SIGTERM with streams open")
            final_records, shutdown = await _shut_down(plan, rate, scale, gateway)
            return Evidence(
                records=[*records, *final_records],
                closed=list(gateway.closed),
                engine_completing=engine.answers("completing"),
                engine_completed=engine.answers("complete"),
                ledger=gateway.ledger(),
                closed_at_rest=closed_at_rest,
                metrics=metrics,
                engine_running=engine_running,
                usage_before=usage_before,
                usage_at_rest=usage_at_rest,
                scrapes=scrapes,
                stall_seconds=scale.stall_seconds,
                ledger_failures=gateway.ledger_failures,
                second=second,
                shutdown=shutdown,
                log_errors=list(gateway.log_errors),
            )


async def _capacity(plan: Plan, repeats: int) -> float:
    """Requests per second that generator, gateway and engine manage together on this machine."""
    plan = plan.model_copy(
        update={"arrivals": Arrivals(), "clients": Clients(), "concurrency": _CAPACITY_CLIENTS}
    )
    conversations = read_conversations(plan.problems.model_copy(update={"n": None}), [])
    tasks = plan_tasks(plan, conversations * repeats)
    started = time.perf_counter()
    await run_tasks(plan, tasks)
    return len(tasks) / (time.perf_counter() - started)


async def _load(plan: Plan, rate: float, seconds: float) -> list[Record]:
    n = max(round(rate * seconds), 1)
    arrivals = plan.arrivals.model_copy(update={"rate": rate})
    conversations = read_conversations(plan.problems.model_copy(update={"n": n}), [])
    scheduled = schedule(arrivals, n, plan.seed, [])
    return await run_tasks(plan, plan_tasks(plan, conversations), scheduled)


async def run_tasks(
    plan: Plan,
    tasks: Sequence[Task],
    scheduled: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """As `run`.

    Raises:
        StoppedError: the run was stopped, so that its records are incomplete.
    """
    progress = progress or Progress(len(tasks))
    records = await run(plan, tasks, scheduled, progress)
    if progress.stopped:
        raise StoppedError
    return records


async def _inject_faults(scale: Scale, engine: EngineProcess, gateway: GatewayProcess) -> None:
    """The faults in sequence; the disk is full before, during and after the stall."""
    started = time.perf_counter()

    async def wait_for(share: float) -> None:
        await asyncio.sleep(max(started + share * scale.seconds - time.perf_counter(), 0))

    await wait_for(0.1)
    _report("killing the engine")
    engine.kill()
    await asyncio.sleep(_DOWN_SECONDS)
    engine.start()
    await wait_for(0.3)
    _report("the engine is back; filling the ledger's disk")
    gateway.fill_disk()
    await wait_for(0.5)
    _report("freezing the engine")
    engine.freeze()
    try:
        await asyncio.sleep(scale.stall_seconds)
    finally:
        engine.thaw()
    await wait_for(0.8)
    _report("freeing the disk")
    gateway.free_disk()


async def _wait_until_idle(
    engine: EngineProcess, gateway: GatewayProcess, before: ProcessUsage | None = None
) -> int:
    """Wait until nothing is in flight and the ledger is written, for at most `_REST_SECONDS`.

    With `before`, also until no more descriptors are open than then. Returns the number of
    requests that the engine still processes.
    """
    deadline, running = time.monotonic() + _REST_SECONDS, -1
    async with httpx.AsyncClient(timeout=_REST_SECONDS) as http:
        while time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            running = (await http.get(f"{engine.url}/counts")).json()["running"]
            metrics = await gateway.metrics(http)
            decided = sum(closed.decided for closed in gateway.closed)
            written = metrics.get("tops_ledger_rows_total", 0.0) >= decided
            released = before is None or gateway.usage().descriptors <= before.descriptors
            if running == 0 and metrics["tops_in_flight"] == 0 and written and released:
                break
    return running


async def _shut_down(
    plan: Plan, rate: float, scale: Scale, gateway: GatewayProcess
) -> tuple[list[Record], Shutdown]:
    """Send SIGTERM under load, with streams open that end in time and streams that do not."""
    conversations: list[Conversation] = [
        (Problem(f"open {index}", prompt),)
        for prompt in _OPEN_STREAMS
        for index in range(_STREAMS_PER_SCRIPT)
    ]
    normal_clients = plan.model_copy(update={"clients": Clients()})
    streams = Progress(len(conversations))
    tasks, immediately = plan_tasks(normal_clients, conversations), [0.0] * len(conversations)
    streaming = asyncio.create_task(run_tasks(normal_clients, tasks, immediately, streams))
    loading = asyncio.create_task(_load(plan, rate, _SHUTDOWN_LOAD_SECONDS))
    await asyncio.sleep(_SHUTDOWN_LOAD_SECONDS / 4)
    open_streams = len(conversations) - streams.finished
    started = time.perf_counter()
    gateway.process.send_signal(signal.SIGTERM)
    status = await gateway.wait(scale.shutdown_timeout + _REST_SECONDS)
    seconds = time.perf_counter() - started
    records: Sequence[Record] = [*await streaming, *await loading]
    return list(records), Shutdown(status, seconds, scale.shutdown_timeout, open_streams)


def _report(text: str) -> None:
    print(f"chaos: {text}", file=sys.stderr, flush=True)
