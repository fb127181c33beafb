"""Runs of the smoke recipe by its commands, for the tests of training.

Most run within the test's own process, which has imported what they need, and fork their workers;
those that a test kills, or of which it limits the resources, are processes of their own.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from paths import ROOT
from training_forks import forked_worker

from tops import main

SMOKE = ROOT / "models" / "recipes" / "smoke.toml"
PROBLEMS = 24
QUICK = (
    f"data.train=[{{stories={{n={PROBLEMS},seed=2}}}}]",
    "data.router=[{stories={n=40,seed=4,split='validation'}}]",
    "sft.epochs=3",
    "pairs.temperature=2",  # of fewer samples, enough are still incorrect
)
"""The smoke recipe with fewer problems and epochs."""
TIMEOUT = 1_200
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch that wait do not spin: beside other tests, training is five times as fast."""


def command(stage: str, run: Path, *settings: str) -> list[str]:
    words = [sys.executable, "-m", "tops", "train", stage, str(SMOKE), "--run", str(run)]
    return [*words, *(word for setting in (*QUICK, *settings) for word in ("--set", setting))]


def train(
    stage: str, run: Path, *settings: str, worker: Callable[..., Any] = forked_worker
) -> tuple[int, str]:
    """Exit status and output of the command, run in this process with workers of `worker`."""
    printed = io.StringIO()
    with (
        patch("models.training.launch.worker_process", worker),
        redirect_stdout(printed),
        redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")  # as in a process of its own
        status = main(command(stage, run, *settings)[3:])
    return status, printed.getvalue()


def trained(
    stage: str, run: Path, *settings: str, worker: Callable[..., Any] = forked_worker
) -> dict[str, Any]:
    status, printed = train(stage, run, *settings, worker=worker)
    assert status == 0, printed
    return manifest(run, stage)


def manifest(run: Path, stage: str) -> dict[str, Any]:
    return json.loads((run / stage / "manifest.json").read_text())


def copy_stages(source: Path, run: Path, *stages: str) -> None:
    for stage in stages:
        shutil.copytree(source / stage, run / stage)


def kill_once(words: list[str], condition: Callable[[], bool]) -> None:
    """Run a command until the condition holds, and kill it with SIGKILL."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            words, cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if process.poll() is not None:
                output.seek(0)
                raise AssertionError(f"it ended before it could be killed:\n{output.read()}")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
