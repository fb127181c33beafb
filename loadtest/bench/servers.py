"""Servers that are measured: processes on fixed CPU cores and free ports."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from child_python import ROOT, path_variables, python_command
from loadtest.free_port import free_port

_START_SECONDS = 90
_STOP_SECONDS = 30
_POLL_SECONDS = 0.2
_LOG_CHARACTERS = 2000
_PIN_AND_EXEC = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True)
class Server:
    """A server that answers; `url` is its base URL, without /v1."""

    url: str
    pid: int


class Servers:
    """Starts servers, with their logs in a folder.

    Args:
        stack: ends them.
        folder: for their logs.
        start_seconds: the time that each may take to answer.
    """

    def __init__(
        self, stack: ExitStack, folder: Path, start_seconds: float = _START_SECONDS
    ) -> None:
        self._stack, self._folder, self._start_seconds = stack, folder, start_seconds

    def start(
        self,
        command: Callable[[int], list[str]],
        cores: str,
        environment: Mapping[str, str] | None = None,
    ) -> Server:
        """Start a server and wait until it answers.

        Args:
            command: makes the command from a port.
            cores: that it may use, such as "0" or "0,1".
            environment: variables in addition to this process's.

        Raises:
            SystemExit: it exited, or did not answer in time; the message has the end of its log.
        """
        port = free_port()
        log = self._folder / f"{port}.log"
        process = self._stack.enter_context(pinned_process(command(port), cores, log, environment))
        url = f"http://127.0.0.1:{port}"
        wait_until_answering(url, process, log, self._start_seconds)
        return Server(url, process.pid)

    def start_fake_engine(self, cores: str) -> Server:
        """Start the fake engine, which serves the model `demo`."""
        return self.start(
            lambda port: python_command(
                "loadtest.fake_engine", "--port", str(port), "--model", "demo"
            ),
            cores,
        )


@contextmanager
def pinned_process(
    command: list[str], cores: str, log: Path, environment: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A process on some cores ("0", or "0,1"), until the block is left."""
    words = [sys.executable, "-c", _PIN_AND_EXEC, cores, *command]
    environment = {**os.environ, **path_variables(), **(environment or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out, env=environment)  # noqa: S603 - a command of the benchmark
        try:
            yield process
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def wait_until_answering(
    url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = _START_SECONDS
) -> None:
    """Wait until a server answers a completion.

    Raises:
        SystemExit: it exited, or did not answer in time; the message has the end of its log.
    """
    messages = [{"role": "user", "content": "chunks=1"}]
    body = {"model": "demo", "messages": messages, "max_tokens": 8}
    headers = {"authorization": "Bearer unused"}
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            end_of_log = log.read_text()[-_LOG_CHARACTERS:]
            raise SystemExit(f"bench: {url} did not start:\n{end_of_log}")
        time.sleep(_POLL_SECONDS)
