"""Records outlast their run: one that is stopped, one that is killed, one to be reported again."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from engines import scripted
from processes import ROOT, kill_when

from loadtest.plan import PlanError
from loadtest.record_file import read_records
from tops import main


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


def long_plan(engine: str, folder: Path, rate: int = 20) -> Path:
    """2,000 conversations, of which every tenth would never end."""
    prompts = [{"prompt": "endless rate=50" if n % 10 == 9 else "chunks=5"} for n in range(2000)]
    (folder / "p.jsonl").write_text("".join(json.dumps(one) + "\n" for one in prompts))
    plan = folder / "plan.toml"
    plan.write_text(
        f'url = "{engine}/v1"\narrivals = {{kind = "constant", rate = {rate}}}\n'
        'problems = {file = "p.jsonl"}\narms = [{name = "a"}]\n'
    )
    return plan


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tops", "load", *map(str, words)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_reports_what_it_has(engine: str, tmp_path: Path, number: int) -> None:
    out, kept = tmp_path / "out.json", tmp_path / "kept.jsonl"
    words = command(long_plan(engine, tmp_path), "--json", out, "--records", kept)
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not kept.exists() or kept.read_bytes().count(b"\n") < 30:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    told, progress = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "of 2000 conversations finished" in told
    assert "in progress were cancelled" in told
    assert "/2000 conversations" in progress
    records = json.loads(out.read_text())["records"]
    assert len(records) >= 30
    assert all(record["ended"] == "answer" for record in records)
    assert len(read_records(kept)) == len(records)


def test_a_killed_run_loses_no_record_and_can_be_reported(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, kept = long_plan(engine, tmp_path, rate=100), tmp_path / "kept.jsonl"
    left = kill_when(command(plan, "--records", kept), kept, 50)
    with kept.open("a") as file:
        file.write('{"arm": "a", "prob')
    assert main(["load", str(plan), "--again", str(kept)]) == 0
    assert f"| a | {left} | 0 |" in capsys.readouterr().out
    assert main(["load", str(plan), "--again", str(kept), "--baseline", str(kept)]) == 0
    assert f"a against a before, {left} pairs" in capsys.readouterr().out


def unfinished(engine: str, folder: Path, arm: str = "a") -> Path:
    """Ten conversations, each of two answers and one that never ends."""
    rows = [{"turns": ["chunks=3", f"chunks={n}", "endless rate=20"]} for n in range(10)]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = folder / "plan.toml"
    plan.write_text(
        f'url = "{engine}/v1"\nconcurrency = 10\nproblems = {{file = "p.jsonl", turns = 3}}\n'
        f'arms = [{{name = "{arm}"}}]\n'
    )
    return plan


def test_a_stopped_run_keeps_the_answers_of_unfinished_conversations(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "out.json", tmp_path / "kept.jsonl"
    words = command(unfinished(engine, tmp_path), "--json", out, "--records", kept)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not kept.exists() or kept.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=30)
    note = "stopped: 0 of 10 conversations finished, 10 in progress were cancelled"
    assert process.returncode == 130
    assert note in told.decode()
    assert read_records(out) == read_records(kept)
    assert [one.turn for one in read_records(kept)].count(1) == 10
    assert main(["load", str(tmp_path / "plan.toml"), "--again", str(out)]) == 0
    again = capsys.readouterr().out
    assert "| a | 20 | 0 |" in again
    assert note in again
    assert main(["load", str(unfinished(engine, tmp_path, "b")), "--again", str(out)]) == 0
    assert "the plan has no arm a: 20 records omitted" in capsys.readouterr().out


def test_a_killed_run_keeps_the_answers_of_unfinished_conversations(
    engine: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    assert kill_when(command(unfinished(engine, tmp_path), "--records", kept), kept, 20) == 20
    assert len({one.conversation for one in read_records(kept)}) == 10


def test_a_full_disk_keeps_the_run(engine: str, tmp_path: Path) -> None:
    """As far as a limit on the size of files is one."""
    rows = [{"prompt": f"chunks={n}"} for n in range(40)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan, kept = tmp_path / "plan.toml", tmp_path / "kept.jsonl"
    plan.write_text(
        f'url = "{engine}/v1"\nproblems = {{file = "p.jsonl"}}\narms = [{{name = "a"}}]\n'
    )
    done = subprocess.run(
        command(plan, "--records", kept),
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
    )
    assert done.returncode == 0, done.stderr
    assert "| a | 40 | 0 |" in done.stdout
    assert f"{kept} does not have all records: " in done.stdout
    assert 0 < len(read_records(kept)) < 40


def test_an_earlier_run_s_records_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept.jsonl").write_text("")
    assert main(["load", "plan.toml", "--records", str(tmp_path / "kept.jsonl")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", '{"arm": "a"}\n', "5\n6\n", "{\n{\n"])
def test_what_has_no_records_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept.jsonl").write_text(text)
    with pytest.raises(PlanError, match="has no records"):
        read_records(tmp_path / "kept.jsonl")


def test_records_with_former_keys_are_read_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    row = {"arm": "a", "problem_id": "p", "budget": None, "at": 3.0, "late": 0.5}
    rows = [{**row, "ended": "left", "client": "disconnecting"}, {**row, "client": "waiting"}]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    with pytest.warns(FutureWarning, match="at is now scheduled_at, late is now start_delay"):
        disconnected, answer = read_records(file)
    assert (disconnected.scheduled_at, disconnected.start_delay) == (3.0, 0.5)
    assert (disconnected.ended, answer.ended) == ("disconnected", "answer")
    assert answer.client == "normal"
