"""`tops` and the embedded engine as real processes, forked from one that has imported them.

To import the server takes more than a second of CPU, and the tests start it some hundred times. A
forked command has a working folder, environment, streams and signals of its own. That they start in
a new interpreter too is shown by the tests of starting and stopping.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

from paths import ROOT

COMMANDS = {"tops": "tops", "server.embedded": "server.embedded.__main__"}
"""`python -m NAME`, and the module whose function `main` it calls."""

PRELOADED = (
    *(*COMMANDS.values(), "server.serve", "server.app", "uvicorn"),
    *("server.commands", "models.commands", "router.commands", "loadtest.commands"),
)
_LARGEST_REQUEST = 1 << 20


class ForkedCommand:
    """As much of a `subprocess.Popen` as the tests use; standard input is empty.

    `stdout` and `stderr` are pipes of text that the command writes; None if it is `silent`.
    """

    def __init__(
        self, args: list[str], cwd: Path, env: Mapping[str, str], *, silent: bool = False
    ) -> None:
        """Start `args`, of which the first is a name in `COMMANDS`."""
        self.args = args
        self.returncode: int | None = None
        self.stdout, out = _writer(silent)
        self.stderr, error = _writer(silent)
        self._status, theirs = socket.socketpair()
        request = json.dumps({"args": args, "cwd": str(cwd), "env": dict(env)}).encode()
        descriptors = [out, error, theirs.fileno()]
        socket.send_fds(_forker(), [request], descriptors)
        os.close(out)
        os.close(error)
        theirs.close()
        self.pid = int.from_bytes(_read(self._status, 8), "little")

    def poll(self) -> int | None:
        """The exit status of a process that has ended; negative for a signal."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one; raises `TimeoutExpired` after so many seconds."""
        status = self._wait(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return status

    def communicate(self) -> list[str]:
        """What it writes to standard output and to standard error until it ends."""
        with ThreadPoolExecutor(2) as readers:
            output = list(readers.map(_text, (self.stdout, self.stderr)))
        self.wait()
        return output

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _wait(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            waited = int.from_bytes(_read(self._status, 8), "little")
            self.returncode = os.waitstatus_to_exitcode(waited)
            self._status.close()
        return self.returncode


def _writer(silent: bool) -> tuple[TextIO | None, int]:
    """What reads from a pipe, and the descriptor that writes to it."""
    if silent:
        return None, os.open(os.devnull, os.O_WRONLY)
    reading, writing = os.pipe()
    return os.fdopen(reading), writing


def _text(pipe: TextIO | None) -> str:
    assert pipe is not None
    with pipe:
        return pipe.read()


def _read(connection: socket.socket, length: int) -> bytes:
    data = connection.recv(length, socket.MSG_WAITALL)
    assert len(data) == length, "the process that forks commands has ended"
    return data


@cache
def _forker() -> socket.socket:
    """The connection to this process's forker, which ends when the connection does."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_REQUEST)
    with theirs:
        program = f"import forked_command; forked_command.fork_on_request({theirs.fileno()})()"
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def fork_on_request(descriptor: int) -> Callable[[], object]:
    """Fork a child for each request; returns what the child, or at last the forker, is to do."""
    gc.disable()
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # a child's collections would copy all of it
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    requests = socket.socket(fileno=descriptor)
    children: dict[int, socket.socket] = {}
    while True:
        ready = select.select([requests, reading], [], [])[0]
        if reading in ready:
            os.read(reading, 1 << 16)
            _report_ended(children)
        if requests not in ready:
            continue
        data, descriptors, *_ = socket.recv_fds(requests, _LARGEST_REQUEST, 3)
        if not data:
            return lambda: None
        status = socket.socket(fileno=descriptors.pop())
        if (child := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            for connection in (requests, status, *children.values()):
                connection.close()
            os.close(reading)
            os.close(writing)
            return lambda: _run(json.loads(data), descriptors)
        children[child] = status
        status.sendall(child.to_bytes(8, "little"))
        for stream in descriptors:
            os.close(stream)


def _report_ended(children: dict[int, socket.socket]) -> None:
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with children.pop(child) as connection, contextlib.suppress(OSError):
            connection.sendall(status.to_bytes(8, "little"))


def _run(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(descriptors, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    name, *sys.argv[1:] = request["args"]
    sys.exit(importlib.import_module(COMMANDS[name]).main())
