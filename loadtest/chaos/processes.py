"""The processes of a chaos run: an engine, and a gateway in front of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from loadtest.chaos.engine_process import EngineProcess
from loadtest.chaos.gateway_process import GatewayProcess

_START_SECONDS = 60


@asynccontextmanager
async def engine_and_gateway(
    folder: Path, shutdown_timeout: float
) -> AsyncGenerator[tuple[EngineProcess, GatewayProcess]]:
    """Start both, wait until the gateway is ready, and end them after the block.

    Raises:
        RuntimeError: the gateway did not start; the message has the errors of its log.
    """
    engine = EngineProcess(folder)
    engine.start()
    try:
        gateway = GatewayProcess(folder, engine.url, shutdown_timeout)
        try:
            await wait_until_ready(gateway)
            yield engine, gateway
        finally:
            gateway.process.kill()
            await gateway.wait(_START_SECONDS)
    finally:
        engine.kill()


async def wait_until_ready(gateway: GatewayProcess) -> None:
    deadline = time.monotonic() + _START_SECONDS
    async with httpx.AsyncClient() as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{gateway.url}/ready")).is_success:
                    return
            if gateway.process.poll() is not None or time.monotonic() > deadline:
                errors = "\n".join(gateway.log_errors)
                raise RuntimeError(f"the gateway did not start: {errors}")
            await asyncio.sleep(0.1)
