"""`tops serve` as a process: its log, metrics and ledger, and a disk that can be full.

Linux only: the full disk is a limit on the size of the process's files.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import sqlite3
import subprocess
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx

from child_python import path_variables, python_command
from loadtest.chaos.closed_request import ClosedRequest
from loadtest.free_port import free_port
from loadtest.process_usage import ProcessUsage, process_usage

_SHUTDOWN_TIMEOUT_EVENT = "timeout graceful shutdown exceeded"
_SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)


class GatewayProcess:
    """A gateway in front of one engine, with the ledger of its folder.

    With a file as its `log`, nothing of that is read.

    Attributes:
        closed: the log's lines on requests, as they come.
        ledger_failures: how often the log said that the ledger cannot be written.
        log_errors: unexpected errors of the log.
    """

    def __init__(
        self, folder: Path, upstream: str, shutdown_timeout: float, log: Path | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.closed: list[ClosedRequest] = []
        self.log_errors: list[str] = []
        self.ledger_failures = 0
        self._ledger = folder / "ledger.db"
        flags = ["--port", str(self.port), "--upstream", upstream, "--no-effort-canary"]
        flags += [
            "--ledger",
            f"sqlite:///{self._ledger}",
            "--shutdown-timeout",
            str(shutdown_timeout),
        ]
        with log.open("wb") if log else nullcontext(subprocess.PIPE) as stderr:
            self.process = subprocess.Popen(  # noqa: S603 - a command of this project
                python_command("tops", "serve", *flags),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, **path_variables(), "PYTHONUNBUFFERED": "1"},
            )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        if self.process.stderr is None:
            return
        with self.process.stderr as lines:
            for raw in lines:
                self._read_line(raw)

    def _read_line(self, raw: bytes) -> None:
        try:
            line: dict[str, Any] = json.loads(raw)
        except ValueError:
            line = {"level": "error", "event": "invalid JSON"}
        event = str(line.get("event"))
        if event == "request":
            self.closed.append(ClosedRequest.of_gateway_log(line))
        elif "ledger cannot be written" in event:
            self.ledger_failures += 1
        elif line.get("level") == "error" and _SHUTDOWN_TIMEOUT_EVENT not in event:
            self.log_errors.append(raw.decode(errors="replace").rstrip())

    async def metrics(self, http: httpx.AsyncClient) -> Mapping[str, float]:
        """Every metric, summed over its labels."""
        response = await http.get(f"{self.url}/metrics")
        response.raise_for_status()
        sums: dict[str, float] = {}
        for name, _, sample in _SAMPLE.findall(response.text):
            sums[name] = sums.get(name, 0.0) + float(sample)
        return sums

    def fill_disk(self) -> None:
        """Let no file of the process grow, as on a full disk."""
        self._limit_files(0)

    def free_disk(self) -> None:
        """Let the process's files grow again."""
        self._limit_files(resource.RLIM_INFINITY)

    def limit_descriptors(self, limit: int | None) -> None:
        """Let the process open no more descriptors than that; None lifts the limit again."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (limit or hard, hard))

    def _limit_files(self, size: int) -> None:
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        soft = size if hard == resource.RLIM_INFINITY or 0 <= size < hard else hard
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def usage(self) -> ProcessUsage:
        return process_usage(self.process.pid)

    async def wait(self, timeout_seconds: float) -> int | None:
        """The exit status, once the process and its log ended; None after the time-out."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.process.wait, timeout_seconds)
        await asyncio.to_thread(self._reader.join, 5)
        return self.process.poll()

    def ledger(self) -> Mapping[str, ClosedRequest]:
        """The ledger's rows by request id."""
        with contextlib.closing(sqlite3.connect(self._ledger)) as database:
            rows = database.execute(
                "select request_id, status, thinking_tokens, answer_tokens from requests"
            ).fetchall()
        return {row[0]: ClosedRequest(*row) for row in rows}
