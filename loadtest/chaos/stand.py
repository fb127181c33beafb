"""An engine and a gateway of one's own, as processes on loopback, and what can be seen of them.

Linux only: what a process takes is read from /proc, and its disk is filled by a limit on its files.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from child_python import path_variables, python_command

_START_SECONDS = 60
_DRAINED = "timeout graceful shutdown exceeded"
_SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Closed:
    """A request as whoever closed it counted it: the gateway's log or ledger, or the engine."""

    request_id: str
    status: int
    thinking: int | None
    answer: int | None
    decided: bool = True


class Engine:
    """The scripted engine as a process that can be killed, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "engine.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on the same port as before."""
        flags = ["--port", str(self.port), "--log", str(self._log)]
        self._process = subprocess.Popen(  # noqa: S603 - our own
            python_command("loadtest.fake_engine", *flags), env={**os.environ, **path_variables()}
        )

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Make it silent, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def whole(self) -> Mapping[str, Closed]:
        """What it has counted of the requests that it answered to their end, by id."""
        if not self._log.exists():
            return {}
        rows = [json.loads(line) for line in self._log.read_bytes().splitlines()]
        return {
            row["request_id"]: _counted(row["request_id"], row["usage"])
            for row in rows
            if row["ended"] == "complete"
        }


class Gateway:
    """`tops serve` before that engine, with a ledger on a file of its own.

    `closed` are the lines of its log about requests, as they come; `ledger_refused` how often it
    said that its ledger could not be written, and `oddities` what no gateway should say.
    """

    def __init__(self, folder: Path, engine: Engine, drain_seconds: float) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.closed: list[Closed] = []
        self.oddities: list[str] = []
        self.ledger_refused = 0
        self._ledger = folder / "ledger.db"
        words = ["serve", "--port", str(self.port), "--upstream", engine.url]
        words += ["--ledger", f"sqlite:///{self._ledger}", "--drain-seconds", str(drain_seconds)]
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            python_command("tops", *words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **path_variables(), "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for raw in lines:
                self._note(raw)

    def _note(self, raw: bytes) -> None:
        try:
            line: dict[str, Any] = json.loads(raw)
        except ValueError:
            line = {"level": "error", "event": "no JSON"}
        if line.get("event") == "request":
            self.closed.append(_logged(line))
        elif "ledger cannot be written" in str(line.get("event")):
            self.ledger_refused += 1
        elif line.get("level") == "error" and _DRAINED not in str(line.get("event")):
            self.oddities.append(raw.decode(errors="replace").rstrip())

    async def metrics(self, http: httpx.AsyncClient) -> Mapping[str, float]:
        """Every metric's sum over its labels."""
        answer = await http.get(f"{self.url}/metrics")
        answer.raise_for_status()
        sums: dict[str, float] = {}
        for name, _, value in _SAMPLE.findall(answer.text):
            sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def fill_disk(self) -> None:
        """From now on no file of its can grow, as on a full disk."""
        self._limit_files(0)

    def free_disk(self) -> None:
        """Its files can grow again."""
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        soft = size if hard == resource.RLIM_INFINITY or 0 <= size < hard else hard
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def resident(self) -> int:
        """Bytes of memory that it takes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def descriptors(self) -> int:
        """Files and sockets that it has open."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    async def stopped(self, seconds: float) -> int | None:
        """Its exit status, once it and its log have ended; None where it does not end in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.process.wait, seconds)
        await asyncio.to_thread(self._reader.join, 5)
        return self.process.poll()

    def ledger(self) -> Mapping[str, Closed]:
        """The rows of its ledger, by the request's id."""
        with contextlib.closing(sqlite3.connect(self._ledger)) as database:
            rows = database.execute(
                "select request_id, status, thinking_tokens, answer_tokens from requests"
            ).fetchall()
        return {row[0]: Closed(*row) for row in rows}


@asynccontextmanager
async def stand(folder: Path, drain_seconds: float) -> AsyncGenerator[tuple[Engine, Gateway]]:
    """Both, once they answer, until the block is left; then they are ended."""
    engine = Engine(folder)
    engine.start()
    try:
        gateway = Gateway(folder, engine, drain_seconds)
        try:
            await _await_ready(gateway)
            yield engine, gateway
        finally:
            gateway.process.kill()
            await gateway.stopped(_START_SECONDS)
    finally:
        engine.kill()


async def _await_ready(gateway: Gateway) -> None:
    deadline = time.monotonic() + _START_SECONDS
    async with httpx.AsyncClient() as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{gateway.url}/ready")).is_success:
                    return
            if gateway.process.poll() is not None or time.monotonic() > deadline:
                told = "\n".join(gateway.oddities)
                raise RuntimeError(f"the gateway did not start: {told}")
            await asyncio.sleep(0.1)


def _logged(line: Mapping[str, Any]) -> Closed:
    counts = (line.get("thinking_tokens"), line.get("answer_tokens"))
    return Closed(line["request_id"], line["status"], *counts, decided="effort" in line)


def _counted(request_id: str, usage: Mapping[str, Any] | None) -> Closed:
    if usage is None:
        return Closed(request_id, 200, None, None)
    thinking: int = usage["completion_tokens_details"]["reasoning_tokens"]
    return Closed(request_id, 200, thinking, usage["completion_tokens"] - thinking)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
