"""The sandbox: what a confined program cannot do, seen with real programs."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.sandbox.sandbox import JobError, Sandbox, unsupported

pytestmark = pytest.mark.skipif(unsupported() is not None, reason=str(unsupported()))

SECRET = "a-key-that-no-program-may-see"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    os.environ["TOPS_UPSTREAM_API_KEY"] = SECRET
    with Sandbox() as sandbox:
        yield sandbox
    del os.environ["TOPS_UPSTREAM_API_KEY"]


def run(sandbox: Sandbox, program: str, seconds: float = 20) -> str:
    return sandbox.run("program", {"program": program, "proof": "passed"}, seconds)


@pytest.mark.parametrize(
    "program",
    [
        "assert sum(range(4)) == 6",
        "open('scratch', 'w').write('x'); assert open('scratch').read() == 'x'",
        "import tempfile; tempfile.TemporaryFile().write(b'x')",
        "import threading; t = threading.Thread(target=print); t.start(); t.join()",
        "import collections, datetime, decimal, heapq, itertools, json, math, random, re, typing",
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass A:\n    b: int\nassert A(1).b == 1",
        "print('x' * 10_000_000)",
        f"import os; assert {SECRET!r} not in os.environ.values()",
    ],
)
def test_an_ordinary_program_passes(sandbox: Sandbox, program: str) -> None:
    assert run(sandbox, program) == "passed"


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("assert False", "AssertionError"),
        ("import os; os._exit(0)", "without a result"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import ctypes; ctypes.string_at(0)", "without a result"),
        ("bytearray(10**10)", "MemoryError"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "PermissionError"),
        ("import multiprocessing as m; m.Process(target=print).start()", "PermissionError"),
        ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
        ("open('/etc/passwd').read()", "PermissionError"),
        ("import os; open(f'/proc/{os.getppid()}/environ').read()", "PermissionError"),
        ("import os; os.listdir(os.path.expanduser('~root'))", "PermissionError"),
        ("open('f', 'wb').write(b'x' * (9 << 20)) and open('f', 'ab').write(b'x')", "large"),
        ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "Error"),
        ("f = [open('/dev/null') for _ in range(100)]", "Too many open files"),
    ],
)
def test_a_program_that_leaves_its_limits_fails(sandbox: Sandbox, program: str, error: str) -> None:
    with pytest.raises(JobError, match=error):
        run(sandbox, program)


def test_an_endless_program_ends(sandbox: Sandbox) -> None:
    with pytest.raises(JobError, match="it took longer than"):
        run(sandbox, "while True: pass", seconds=0.5)
    assert run(sandbox, "pass") == "passed"


def test_a_program_cannot_write_elsewhere_nor_reach_a_server(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    target = tmp_path / "written"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(JobError, match="PermissionError"):
            run(sandbox, f"import socket; socket.create_connection(('127.0.0.1', {port}))")
    with pytest.raises(JobError, match="PermissionError"):
        run(sandbox, f"open({str(target)!r}, 'w')")
    assert not target.exists()


def test_its_servers_end_with_it() -> None:
    others = children()
    with Sandbox() as sandbox:
        assert run(sandbox, "pass") == "passed"
        (server,) = children() - others
        assert b"models.sandbox.job_server" in command(server)
    assert server not in children()


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def command(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
