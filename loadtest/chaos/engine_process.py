"""The fake engine as a process that can be killed, frozen and started again."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from child_python import path_variables, python_command
from loadtest.chaos.closed_request import ClosedRequest
from loadtest.fake_engine.state import Event
from loadtest.free_port import free_port


class EngineProcess:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "engine.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine, on the same port every time."""
        flags = ["--port", str(self.port), "--log", str(self._log)]
        self._process = subprocess.Popen(  # noqa: S603 - a command of this project
            python_command("loadtest.fake_engine", *flags), env={**os.environ, **path_variables()}
        )

    def kill(self) -> None:
        """End the engine as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop the process, which leaves its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def answers(self, event: Event) -> Mapping[str, ClosedRequest]:
        """The answers for which the engine logged an event, by request id."""
        if not self._log.exists():
            return {}
        rows = [json.loads(line) for line in self._log.read_bytes().splitlines()]
        return {
            row["request_id"]: ClosedRequest.of_engine_log(row)
            for row in rows
            if row["event"] == event
        }
