"""Runs jobs for its parent, each in a confined child of its own.

`python -m models.sandbox.job_server [MODULE...]`. One JSON object a line on standard input and
output, in turn; it ends when its input does. The modules are imported once, before the first job.
"""

import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from models.sandbox.confinement import Limits, confine
from models.sandbox.jobs import JOBS

_MOST_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16
_MOST_ERROR_CHARACTERS = 500


def run_confined(request: Mapping[str, Any]) -> dict[str, Any]:
    """The job's `result`, or the `error` that kept it from one."""
    limits = Limits(request["seconds"], request["memory_mib"])
    folder = Path(tempfile.mkdtemp(prefix="tops-job-"))
    reading, writing = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            os.close(reading)
            _run_in_child(request, limits, folder, writing)
        os.close(writing)
        reply = _read(reading, limits.seconds)
        os.kill(child, signal.SIGKILL)  # it has been waited for by nobody, so the id is its own
        os.waitpid(child, 0)
    finally:
        os.close(reading)
        shutil.rmtree(folder, ignore_errors=True)
    if reply is None:
        return {"error": f"it took longer than {limits.seconds:g} s, or wrote too much"}
    try:
        return json.loads(reply)
    except ValueError:
        return {"error": "it ended without a result"}


def _read(descriptor: int, seconds: float) -> bytes | None:
    """What the child writes until it ends; None past the time or the size."""
    deadline, chunks, size = time.monotonic() + seconds, list[bytes](), 0
    while (left := deadline - time.monotonic()) > 0 and size <= _MOST_BYTES:
        if not select.select([descriptor], [], [], left)[0]:
            return None
        if not (chunk := os.read(descriptor, _CHUNK_BYTES)):
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    return None


def _run_in_child(
    request: Mapping[str, Any], limits: Limits, folder: Path, output: int
) -> NoReturn:
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.environ.update(TMPDIR=str(folder), HOME=str(folder))
        tempfile.tempdir = str(folder)
        reply: dict[str, Any] = _confined_reply(request, limits, folder)
        line = memoryview(json.dumps(reply).encode())
        while line:
            line = line[os.write(output, line) :]
    finally:
        os._exit(0)


def _confined_reply(request: Mapping[str, Any], limits: Limits, folder: Path) -> dict[str, Any]:
    try:
        confine(folder, limits)
    except OSError as error:
        return {"unconfined": f"the kernel refuses to confine a process: {error}"}
    try:
        return {"result": JOBS[request["job"]](request["payload"])}
    except BaseException as error:  # noqa: BLE001 - a program's SystemExit is a failure too
        return {"error": f"{type(error).__name__}: {error}"[:_MOST_ERROR_CHARACTERS]}


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(run_confined(request)), flush=True)


if __name__ == "__main__":
    main()
