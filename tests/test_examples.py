"""The examples, run as their readers run them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from paths import ROOT
from processes import serving

EXAMPLES = ROOT / "examples"


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    finished = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_openai_client_gets_effort_and_budget(gateway: str, tmp_path: Path) -> None:
    output = run(sys.executable, EXAMPLES / "openai_client.py", f"{gateway}/v1", cwd=tmp_path)
    assert "'source': 'router'" in output
    assert "'effort': 'high', 'source': 'request'" in output
    assert "stream: {" in output
    assert "x-tops-effort" in output


@pytest.mark.slow
def test_a_router_is_calibrated_on_one_s_own_problems(gateway: str, tmp_path: Path) -> None:
    tops = tmp_path / "tops"
    tops.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tops "$@"\n')
    tops.chmod(0o755)
    problems = (EXAMPLES / "calibrate" / "problems.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "problems.jsonl").write_text("".join(problems[:30]))
    environment = {
        "URL": f"{gateway}/v1",
        "OUT": str(tmp_path / "router.json"),
        "TOPS": str(tops),
        "PROBLEMS": str(tmp_path / "problems.jsonl"),
        "EFFORTS": "none,low",
    }
    output = run("sh", EXAMPLES / "calibrate" / "run.sh", cwd=tmp_path, **environment)
    assert json.loads((tmp_path / "router.json").read_text())["model"] == "demo"
    assert "baseline" in output


def test_savings_are_read_from_a_ledger(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with serving("--ledger", ledger) as server:
        run(sys.executable, EXAMPLES / "openai_client.py", f"{server.url}/v1", cwd=tmp_path)
    output = run(sys.executable, EXAMPLES / "read_savings.py", ledger, cwd=tmp_path)
    assert "thinking_tokens: pending" in output


def test_the_compose_file_with_a_vllm_is_valid() -> None:
    file = EXAMPLES / "vllm" / "compose.yaml"
    services = yaml.safe_load(file.read_text())["services"]
    assert services["gateway"]["environment"]["TOPS_UPSTREAM"] == "http://vllm:8000/v1"
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    run(compose, "-f", file, "config", "--quiet", cwd=ROOT)
