"""A sandbox of several job servers, without this process's environment variables.

Time, memory, files, network and processes of a job are limited, see `models.sandbox.confinement`.
"""

import contextlib
import json
import os
import queue
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from child_python import path_variables, python_command
from models.sandbox.kernel import unsupported

__all__ = ["JobError", "Sandbox", "SandboxError", "unsupported"]

_SHUTDOWN_SECONDS = 10
_FIXED_VARIABLES = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


class JobError(Exception):
    """A job has no result; the message says why."""


class SandboxError(Exception):
    """The sandbox runs no job at all; the message says why."""


class Sandbox:
    """Runs jobs in `processes` servers, which start when they are needed; threads may share it.

    Args:
        processes: the number of jobs at a time.
        modules: imported by each server once.
    """

    def __init__(self, processes: int = 1, modules: Sequence[str] = ()) -> None:
        self._command = python_command("models.sandbox.job_server", *modules)
        self._servers: queue.LifoQueue[subprocess.Popen[str] | None] = queue.LifoQueue()
        self._processes = processes
        for _ in range(processes):
            self._servers.put(None)

    def run(
        self, job: str, payload: Mapping[str, Any], seconds: float, memory_mib: int = 512
    ) -> Any:
        """The result of a job of `models.sandbox.jobs`.

        Raises:
            JobError: it failed, or took too long or too much memory.
            SandboxError: its server ended, or the kernel does not confine it.
        """
        request = {
            "job": job,
            "payload": payload,
            "seconds": seconds,
            "memory_mib": memory_mib,
        }
        server = self._servers.get()
        try:
            if server is None:
                server = self._start()
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            self._servers.put(server)
        if not line:
            raise SandboxError("the sandbox's server ended; its error is above")
        reply = json.loads(line)
        if "unconfined" in reply:
            raise SandboxError(reply["unconfined"])
        if "error" in reply:
            raise JobError(reply["error"])
        return reply["result"]

    def _start(self) -> subprocess.Popen[str]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        return subprocess.Popen(  # noqa: S603 - a module of this project
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**kept, **_FIXED_VARIABLES, **path_variables()},
        )

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for _ in range(self._processes):
            server = self._servers.get()
            if server is None:
                continue
            assert server.stdin is not None
            with server:  # closes its pipes
                with contextlib.suppress(BrokenPipeError):
                    server.stdin.close()
                try:
                    server.wait(_SHUTDOWN_SECONDS)
                except subprocess.TimeoutExpired:
                    server.kill()
