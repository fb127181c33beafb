"""An engine as a supervised subprocess on loopback.

The subprocess ends with its parent (it watches its standard input), is restarted with back-off when
it exits, and gets time for a graceful shutdown when the gateway stops. An engine that exits before
it was ever up is not restarted: it would fail in the same way again.
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from child_python import path_variables

_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.2, 30.0
_STABLE_SECONDS = 60
"""A subprocess that ran for this long resets the back-off."""

_TERMINATE_SECONDS = 5
_OUTPUT_SECONDS = 1
"""Time for the output of an engine that exited; its own children may keep the pipe open."""

_PORTS = range(20_000, 32_768)
"""Below those that Linux and macOS give to sockets by themselves (32768 and 49152 and up)."""

_CHUNK_BYTES = 2**16
_TAIL_BYTES, _TAIL_LINES = 2**13, 15

log = structlog.get_logger(__name__)


class EngineNeverStarted(Exception):  # noqa: N818 - named for what happened
    """The engine exited before it was up; the message holds its exit status and last output."""


def free_port() -> int:
    """A loopback port that is free now, of those that the system hands to nobody by itself.

    Another process could take one of the others before it is bound.
    """
    for port in [*random.sample(_PORTS, 100), 0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free on 127.0.0.1")


class Supervisor:
    """Keeps an engine's subprocess running.

    `failed` is set, and `failure` is the reason, when the engine exits without having been up.

    Args:
        command: the program and its arguments.
        was_up: whether the engine has ever been up.
        on_restart: called at each restart.
        explain: says why an engine with this status and output never was up; None, or an answer
            of None, where its output says it best.
    """

    def __init__(
        self,
        command: Sequence[str],
        was_up: Callable[[], bool],
        on_restart: Callable[[], None],
        explain: Callable[[int | str, str], str | None] | None = None,
    ) -> None:
        self.failed = asyncio.Event()
        self.failure: EngineNeverStarted | None = None
        self._command = command
        self._was_up = was_up
        self._on_restart = on_restart
        self._explain = explain
        self._tail = b""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep the subprocess running while the context is open."""
        task = asyncio.create_task(self._keep_running())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep_running(self) -> None:
        backoff = _MIN_BACKOFF_SECONDS
        while True:
            started = time.monotonic()
            status = await self._run()
            uptime = time.monotonic() - started
            if not self._was_up():
                self.failure = EngineNeverStarted(self._describe(status))
                self.failed.set()
                return
            backoff = _MIN_BACKOFF_SECONDS if uptime > _STABLE_SECONDS else backoff
            log.error("engine ended", status=status, uptime=round(uptime, 1), restart_in=backoff)
            self._on_restart()
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)

    async def _run(self) -> int | str:
        """Run the subprocess until it exits; its exit status, or why it could not be started."""
        self._tail = b""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:  # such as too little memory at the moment
            return str(error)
        log.info("engine started", pid=process.pid)
        assert process.stdout is not None
        relay = asyncio.create_task(self._relay_output(process.stdout))
        try:
            status = await process.wait()
            await asyncio.wait({relay}, timeout=_OUTPUT_SECONDS)
            return status
        finally:
            await _stop(process)
            relay.cancel()

    async def _relay_output(self, output: asyncio.StreamReader) -> None:
        """Copy the engine's output to standard error, and keep the end of it."""
        while chunk := await output.read(_CHUNK_BYTES):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            sys.stderr.buffer.write(chunk)  # a log stream, which neither raises nor blocks

    def _describe(self, status: int | str) -> str:
        if isinstance(status, str):
            return f"the engine cannot be started: {status}"
        tail = self._tail.decode(errors="replace")
        if self._explain and (reason := self._explain(status, tail)):
            return reason
        lines = tail.splitlines()[-_TAIL_LINES:]
        if not lines:
            return f"the engine exited with status {status} before it was ready, without output"
        output = "\n".join(f"  {line}" for line in lines)
        return f"the engine exited with status {status} before it was ready:\n{output}"


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
