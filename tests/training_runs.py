"""Runs of the smoke recipe by its commands, for the tests of training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import ROOT

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


def train(stage: str, run: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(stage, run, *settings),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def trained(stage: str, run: Path, *settings: str) -> dict[str, Any]:
    result = train(stage, run, *settings)
    assert result.returncode == 0, result.stdout + result.stderr
    return manifest(run, stage)


def manifest(run: Path, stage: str) -> dict[str, Any]:
    return json.loads((run / stage / "manifest.json").read_text())


def copy_stages(source: Path, run: Path, *stages: str) -> None:
    for stage in stages:
        shutil.copytree(source / stage, run / stage)


def kill_once(words: list[str], condition: Callable[[], bool]) -> None:
    """Run a command until the condition holds, and kill it with SIGKILL."""
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
