"""An engine as a supervised subprocess on loopback.

The subprocess ends with its parent (it watches its standard input), is restarted with back-off when
it exits, and gets time for a graceful shutdown when the gateway stops.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from child_python import path_variables

_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.2, 30.0
_STABLE_SECONDS = 60
"""A subprocess that ran for this long resets the back-off."""

_TERMINATE_SECONDS = 5

log = structlog.get_logger(__name__)


def free_port() -> int:
    """A loopback port that is free now; another process may still take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def supervised(
    command: Sequence[str], on_restart: Callable[[], None]
) -> AsyncGenerator[None]:
    """Keep a subprocess running while the context is open."""
    task = asyncio.create_task(_keep_running(command, on_restart))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_running(command: Sequence[str], on_restart: Callable[[], None]) -> None:
    backoff = _MIN_BACKOFF_SECONDS
    while True:
        started = time.monotonic()
        status = await _run(command)
        uptime = time.monotonic() - started
        backoff = _MIN_BACKOFF_SECONDS if uptime > _STABLE_SECONDS else backoff
        log.error("engine ended", status=status, uptime=round(uptime, 1), restart_in=backoff)
        on_restart()
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)


async def _run(command: Sequence[str]) -> int | str:
    """Run the subprocess until it exits; its exit status, or why it could not be started."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, start_new_session=True, env=_environment()
        )
    except OSError as error:  # such as too little memory at the moment
        return str(error)
    log.info("engine started", pid=process.pid)
    try:
        return await process.wait()
    finally:
        await _stop(process)


def _environment() -> dict[str, str]:
    """This process's environment, less the workers' metrics folder: engines use their own.

    Neither the engine nor its own children search the working folder for modules.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    return {**inherited, **path_variables()}


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_TERMINATE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
