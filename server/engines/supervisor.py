"""An engine as a supervised child process on loopback.

The child ends with its parent (it watches its standard input), is restarted with back-off when it
dies, and is given time to end by itself when the gateway stops.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.2, 30.0
_SETTLED_SECONDS = 60
"""A child that lived this long starts the back-off afresh."""

_TERMINATE_SECONDS = 5

log = structlog.get_logger(__name__)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def supervised(
    command: Sequence[str], on_restart: Callable[[], None]
) -> AsyncGenerator[None]:
    """Keep a child process running while the context is open."""
    watch = asyncio.create_task(_keep_running(command, on_restart))
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _keep_running(command: Sequence[str], on_restart: Callable[[], None]) -> None:
    backoff = _FIRST_BACKOFF
    while True:
        started = time.monotonic()
        status = await _run(command)
        lived = time.monotonic() - started
        backoff = _FIRST_BACKOFF if lived > _SETTLED_SECONDS else backoff
        log.error("engine ended", status=status, lived=round(lived, 1), restart_in=backoff)
        on_restart()
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, _LONGEST_BACKOFF)


async def _run(command: Sequence[str]) -> int | str:
    """Run the child to its end; its exit status, or why it could not be started."""
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, start_new_session=True, env=_environment()
        )
    except OSError as error:  # such as too little memory just now
        return str(error)
    log.info("engine started", pid=child.pid)
    try:
        return await child.wait()
    finally:
        await _end(child)


def _environment() -> dict[str, str]:
    """Ours, but for where the gateway's workers keep their metrics: an engine has its own."""
    return {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(_TERMINATE_SECONDS):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
