"""Processes that are measured: started on a core, their CPU and memory read from the system."""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from child_python import path_variables
from loadtest.bench.peers import ROOT

_START_SECONDS = 90
_STOP_SECONDS = 30
_PINNED = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


@contextmanager
def running(
    command: list[str], cores: str, log: Path, environment: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A process on some cores ("0", or "0,1"), until the block is left."""
    words = [sys.executable, "-c", _PINNED, cores, *command]
    environment = {**os.environ, **path_variables(), **(environment or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out, env=environment)  # noqa: S603 - ours
        try:
            yield process
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def await_up(
    url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = _START_SECONDS
) -> None:
    """Wait until it answers a completion.

    Raises:
        SystemExit: it ended, or took too long.
    """
    content = "chunks=1"
    body = {"model": "demo", "messages": [{"role": "user", "content": content}], "max_tokens": 8}
    headers = {"authorization": "Bearer unused"}
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"bench: {url} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


class Starter:
    """Starts what answers completions, logs in a folder; all of it ends with a stack.

    Args:
        stack: ends them.
        folder: for their logs.
        seconds: that one may take to answer.
    """

    def __init__(self, stack: ExitStack, folder: Path, seconds: float = _START_SECONDS) -> None:
        self._stack, self._folder, self._seconds = stack, folder, seconds

    def start(
        self,
        command: list[str],
        url: str,
        cores: str,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """The process's id, once it answers at its URL.

        Raises:
            SystemExit: it ended, or took too long.
        """
        log = self._folder / f"{urlsplit(url).port}.log"
        process = self._stack.enter_context(running(command, cores, log, environment))
        await_up(url, process, log, self._seconds)
        return process.pid


def cpu(pid: int, family: bool = True) -> float:
    """Seconds of CPU of a process so far; of its descendants too, or its own alone."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(stat[1]), []).append(int(folder.name))
            used[int(folder.name)] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    if not family:
        return used[pid]
    total, left = 0.0, [pid]
    while left:
        one = left.pop()
        total += used.get(one, 0.0)
        left += children.get(one, [])
    return total


def memory(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
