"""A second gateway on a chaos run's ledger: its log is full, and its descriptors run out."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from loadtest.chaos.engine_process import EngineProcess
from loadtest.chaos.evidence import SecondGateway
from loadtest.chaos.gateway_process import GatewayProcess
from loadtest.chaos.processes import wait_until_ready
from loadtest.plan import Arrivals, Clients, Plan
from loadtest.problem import Problem
from loadtest.record import Record
from loadtest.task_runner import run
from loadtest.workload import plan_tasks

_SCRIPT = "think=5 chunks=10 close"
_REQUESTS = 60
_CONCURRENCY = 4
_SPARE_DESCRIPTORS = 4
_SILENT_CONNECTIONS = 24
_SHORTAGE_SECONDS = 1.5
_SHUTDOWN_TIMEOUT = 3.0
_WAIT_SECONDS = 20.0


async def second_gateway(folder: Path, plan: Plan, first: GatewayProcess) -> SecondGateway:
    """Start it beside the first one, in front of an engine of its own; load it; end it."""
    async with _gateway(folder) as gateway:
        plan = plan.model_copy(
            update={
                "url": f"{gateway.url}/v1",
                "arrivals": Arrivals(),
                "clients": Clients(closing=1.0),
                "concurrency": _CONCURRENCY,
            }
        )
        records = await _load(plan)
        await _run_out_of_descriptors(gateway)
        records += await _load(plan)
        async with httpx.AsyncClient(timeout=_WAIT_SECONDS) as http:
            await _turn_of_a_session(http, first.url, "session-1")
            await _turn_of_a_session(http, gateway.url, "session-2")
            lines_lost = (await gateway.metrics(http)).get("tops_log_lines_lost_total", 0.0)
        gateway.process.terminate()
        await gateway.wait(_WAIT_SECONDS)
        ledger = gateway.ledger()
        requests = [*(record.request_id for record in records), "session-2"]
        rows = {name: ledger[name] for name in requests if name in ledger}
        return SecondGateway(records, rows, lines_lost, _conversations(folder))


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncGenerator[GatewayProcess]:
    own = folder / "second"
    own.mkdir()
    engine = EngineProcess(own)
    engine.start()
    try:
        gateway = GatewayProcess(folder, engine.url, _SHUTDOWN_TIMEOUT, log=Path("/dev/full"))
        try:
            await wait_until_ready(gateway)
            yield gateway
        finally:
            gateway.process.kill()
            await gateway.wait(_WAIT_SECONDS)
    finally:
        engine.kill()


async def _load(plan: Plan) -> list[Record]:
    conversations = [(Problem(f"second {index}", _SCRIPT),) for index in range(_REQUESTS)]
    return list(await run(plan, plan_tasks(plan, conversations), None))


async def _run_out_of_descriptors(gateway: GatewayProcess) -> None:
    """Connections that send nothing take the last descriptors, for a while."""
    gateway.limit_descriptors(gateway.usage().descriptors + _SPARE_DESCRIPTORS)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(_SILENT_CONNECTIONS):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            stack.callback(writer.close)
        await asyncio.sleep(_SHORTAGE_SECONDS)
    gateway.limit_descriptors(None)
    await asyncio.sleep(_SHORTAGE_SECONDS)


async def _turn_of_a_session(http: httpx.AsyncClient, url: str, request_id: str) -> None:
    """One turn of a conversation that its client names."""
    body = {"model": "fake", "messages": [{"role": "user", "content": "think=1 chunks=1"}]}
    headers = {"x-session-id": "chaos-1", "x-request-id": request_id}
    response = await http.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    response.raise_for_status()


def _conversations(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as database:
        query = (
            "select count(distinct conversation) from requests where request_id like 'session-%'"
        )
        return database.execute(query).fetchone()[0]
