"""Outcomes through the serving API: complete, judged, resumable after a kill."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT

EFFORTS = ("none", "high")


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    made = subprocess.run(
        [sys.executable, "-m", "tops", "problems", "--n", "40", "--seed", "9", "--steps", "1-3"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    file.write_bytes(made.stdout)
    return file


def command(problems: Path, url: str, out: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "tops", "generate", str(problems), "--url", f"{url}/v1"]
    return [*words, "--out", str(out), "--efforts", ",".join(EFFORTS), "--samples", "2", *more]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_killed_run_goes_on_and_neither_loses_nor_doubles(
    gateway: str, problems: Path, tmp_path: Path
) -> None:
    out = tmp_path / "outcomes.jsonl"
    words = command(problems, gateway, out, "--concurrency", "4")
    first = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not out.exists() or out.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with out.open("a") as file:
        file.write('{"problem_id": "half a li')
    before = out.read_bytes()
    kept = before.count(b"\n")
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{kept} of 160 are there already" in again.stderr
    assert out.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    found = rows(out)
    keys = {(row["problem_id"], row["effort"], row["sample"]) for row in found}
    assert len(found) == len(keys) == 160


def test_rows_follow_the_outcome_contract(gateway: str, problems: Path, tmp_path: Path) -> None:
    out = tmp_path / "outcomes.jsonl"
    subprocess.run(command(problems, gateway, out), cwd=ROOT, capture_output=True, check=True)
    found = rows(out)
    gold = {row["problem_id"]: row for row in rows(problems)}
    for row in found:
        assert row["prompt"] == gold[row["problem_id"]]["prompt"]
        assert row["correct"] in (0, 1)
        assert row["tokens"] > row["thinking_tokens"] >= 0
        assert row["response"] is None
        assert not row["truncated"]
    right = {
        effort: sum(row["correct"] for row in found if row["effort"] == effort)
        for effort in EFFORTS
    }
    assert right["high"] > right["none"]


@pytest.mark.parametrize(
    ("line", "says"), [('{"prompt": "x"}', "line 41"), ("{", "line 41"), ("[]", "line 41")]
)
def test_a_broken_problem_file_is_named_by_line(
    problems: Path, tmp_path: Path, line: str, says: str
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(problems.read_text() + line + "\n")
    words = command(broken, "http://127.0.0.1:1", tmp_path / "out.jsonl")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert says in done.stderr


def test_an_endpoint_that_refuses_is_told(gateway: str, problems: Path, tmp_path: Path) -> None:
    words = command(problems, gateway, tmp_path / "out.jsonl", "--model", "absent")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "HTTP 404" in done.stderr
