"""`tops serve` as a real process on a real loopback socket."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from forked_command import ForkedCommand
from paths import ROOT
from polling import PATIENCE_SECONDS, until

START_SECONDS = PATIENCE_SECONDS
LOG_SECONDS = PATIENCE_SECONDS


class Server:
    """A `tops serve` process; `lines` are what it printed and logged so far."""

    def __init__(self, process: ForkedCommand | subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self._announced = threading.Event()
        for pipe in (process.stdout, process.stderr):
            threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe) -> None:  # noqa: ANN001
        with pipe:
            for line in pipe:
                self.lines.append(line)
                if line.startswith("ready: "):
                    self.url = line.removeprefix("ready: ").strip().removesuffix("/v1")
                    self._announced.set()

    def wait_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._announced.wait(0.1):
            assert self.process.poll() is None, "".join(self.lines)
            assert time.monotonic() < deadline, "".join(self.lines)

    def logged(self, text: str, seconds: float = LOG_SECONDS) -> bool:
        """Whether a line with `text` appears in time; 0 seconds look at the lines so far."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in list(self.lines)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def serving(
    *flags: str,
    cwd: Path | None = None,
    seconds: float = START_SECONDS,
    descriptors: int | None = None,
) -> Generator[Server]:
    """`tops serve FLAGS` until the block is left, up in so many seconds; then SIGTERM ends it.

    On a free port, with nobody held out, no ledger and no measurement of efforts, unless the flags
    say otherwise.
    """
    words = ["serve", "--port", "0", "--holdout-share", "0", "--ledger", "", "--no-effort-canary"]
    process = start_tops(*words, *flags, cwd=cwd or ROOT, descriptors=descriptors)
    server = Server(process)
    try:
        server.wait_ready(seconds)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def peak_memory(server: Server) -> int:
    """The most memory that the process has had so far, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def start_tops(
    *words: str, cwd: Path = ROOT, descriptors: int | None = None, **environment: str
) -> ForkedCommand | subprocess.Popen[str]:
    """Start `tops WORDS`, forked unless it takes an interpreter of its own.

    That is so with fewer descriptors, with a library that is to be loaded first, and with several
    workers, whose folder of metrics must be named before the metrics are imported.
    """
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
    if descriptors is None and "LD_PRELOAD" not in variables and "--workers" not in words:
        return ForkedCommand(["tops", *words], cwd, variables)
    limit = f"ulimit -n {descriptors} && " if descriptors else ""
    return subprocess.Popen(
        ["sh", "-c", f'{limit}exec "$@"', "sh", sys.executable, "-m", "tops", *words],
        cwd=cwd,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def family(pid: int) -> dict[int, str]:
    """The living descendants of a process, with their command lines."""
    descendants: dict[int, str] = {}
    for child, words in _children(pid).items():
        descendants |= {child: words} | family(child)
    return descendants


def forker_of(gateway: int) -> int:
    """The process that forks the workers of a gateway."""
    (forker,) = (pid for pid, words in _children(gateway).items() if "forkserver" in words)
    return forker


def workers_of(gateway: int) -> set[int]:
    """The workers of a gateway; none while it starts."""
    try:
        return set(_children(forker_of(gateway)))
    except ValueError:
        return set()


def await_replacement(gateway: int, before: set[int]) -> None:
    """Wait until a gateway has two workers again, which are not those of before."""
    until(lambda: len(workers := workers_of(gateway)) == 2 and workers != before)


def _children(pid: int) -> dict[int, str]:
    children: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if int(parent) == pid and state != "Z":
                children[int(folder.name)] = words
    return children


def run_tops(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `tops WORDS` to its end."""
    process = start_tops(*words, cwd=cwd, **environment)
    output = process.communicate()
    return subprocess.CompletedProcess(words, process.wait(), *output)


def kill_when(words: list[str], file: Path, lines: int) -> int:
    """Run `tops WORDS` until `file` has so many lines, and kill -9; returns the lines it left."""
    process = ForkedCommand(["tops", *words], ROOT, os.environ, silent=True)
    deadline = time.monotonic() + START_SECONDS
    while not file.exists() or file.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return file.read_bytes().count(b"\n")
