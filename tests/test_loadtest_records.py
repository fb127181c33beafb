"""Files of records: of stopped and killed runs, and reports on them."""

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
from paths import ROOT
from polling import PATIENCE_SECONDS
from processes import kill_when, start_tops

from loadtest.plan import PlanError
from loadtest.record_file import read_records
from tops import main


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


def long_plan(engine: str, folder: Path, rate: int = 20) -> Path:
    """2,000 conversations; every tenth never ends."""
    prompts = [{"prompt": "endless rate=50" if n % 10 == 9 else "chunks=5"} for n in range(2000)]
    (folder / "p.jsonl").write_text("".join(json.dumps(record) + "\n" for record in prompts))
    plan = folder / "plan.toml"
    plan.write_text(
        f'url = "{engine}/v1"\narrivals = {{kind = "constant", rate = {rate}}}\n'
        'problems = {file = "p.jsonl"}\narms = [{name = "a"}]\n'
    )
    return plan


def command(*words: object) -> list[str]:
    return ["load", *map(str, words)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_reports_the_records_so_far(engine: str, tmp_path: Path, number: int) -> None:
    out, records_file = tmp_path / "out.json", tmp_path / "records_file.jsonl"
    words = command(long_plan(engine, tmp_path), "--json", out, "--records", records_file)
    process = start_tops(*words)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not records_file.exists() or records_file.read_bytes().count(b"\n") < 30:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    printed, progress = process.communicate()
    assert process.returncode == 130
    assert "of 2000 conversations finished" in printed
    assert "in progress were cancelled" in printed
    assert "/2000 conversations" in progress
    records = json.loads(out.read_text())["records"]
    assert len(records) >= 30
    assert all(record["ended"] == "answer" for record in records)
    assert len(read_records(records_file)) == len(records)


def test_a_killed_run_loses_no_record_and_can_be_reported_again(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, records_file = long_plan(engine, tmp_path, rate=100), tmp_path / "records_file.jsonl"
    lines = kill_when(command(plan, "--records", records_file), records_file, 50)
    with records_file.open("a") as file:
        file.write('{"arm": "a", "prob')
    assert main(["load", str(plan), "--again", str(records_file)]) == 0
    assert f"| a | {lines} | 0 |" in capsys.readouterr().out
    assert (
        main(["load", str(plan), "--again", str(records_file), "--baseline", str(records_file)])
        == 0
    )
    assert f"a against a before, {lines} pairs" in capsys.readouterr().out


def unfinished(engine: str, folder: Path, arm: str = "a") -> Path:
    """Ten conversations, each with two answers and an endless third one."""
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
    out, records_file = tmp_path / "out.json", tmp_path / "records_file.jsonl"
    words = command(unfinished(engine, tmp_path), "--json", out, "--records", records_file)
    process = start_tops(*words)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not records_file.exists() or records_file.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate()
    note = "stopped: 0 of 10 conversations finished, 10 in progress were cancelled"
    assert process.returncode == 130
    assert note in printed
    assert read_records(out) == read_records(records_file)
    assert [record.turn for record in read_records(records_file)].count(1) == 10
    assert main(["load", str(tmp_path / "plan.toml"), "--again", str(out)]) == 0
    again = capsys.readouterr().out
    assert "| a | 20 | 0 |" in again
    assert note in again
    assert main(["load", str(unfinished(engine, tmp_path, "b")), "--again", str(out)]) == 0
    assert "the plan has no arm a: 20 records omitted" in capsys.readouterr().out


def test_a_killed_run_keeps_the_answers_of_unfinished_conversations(
    engine: str, tmp_path: Path
) -> None:
    records_file = tmp_path / "records_file.jsonl"
    assert (
        kill_when(
            command(unfinished(engine, tmp_path), "--records", records_file), records_file, 20
        )
        == 20
    )
    assert len({record.conversation for record in read_records(records_file)}) == 10


def test_a_full_disk_does_not_end_the_run(engine: str, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    rows = [{"prompt": f"chunks={n}"} for n in range(40)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan, records_file = tmp_path / "plan.toml", tmp_path / "records_file.jsonl"
    plan.write_text(
        f'url = "{engine}/v1"\nproblems = {{file = "p.jsonl"}}\narms = [{{name = "a"}}]\n'
    )
    completed = subprocess.run(
        [sys.executable, "-m", "tops", *command(plan, "--records", records_file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
    )
    assert completed.returncode == 0, completed.stderr
    assert "| a | 40 | 0 |" in completed.stdout
    assert f"{records_file} does not have all records: " in completed.stdout
    assert 0 < len(read_records(records_file)) < 40


def test_records_of_an_earlier_run_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "records_file.jsonl").write_text("")
    assert main(["load", "plan.toml", "--records", str(tmp_path / "records_file.jsonl")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{}\n", "line 1: field arm is missing"),
        ("[1]\n", "not an object"),
        ('{"arm": "a"}\n', "line 1: field problem_id is missing"),
        ("5\n6\n", "line 1: not an object"),
        ('{"records": [5]}\n', "a record is not an object"),
        ('{"records": [{}]}\n', "record 1: field arm is missing"),
        ("\udcff", "it is not UTF-8 text"),
    ],
)
def test_a_file_without_records_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "records_file.jsonl"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PlanError, match=f"has no records of tops load: {reason}"):
        read_records(file)
    with pytest.raises(PlanError, match="absent cannot be read: No such file"):
        read_records(tmp_path / "absent")


def test_an_earlier_run_without_an_answer_can_be_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "records.jsonl"
    row = {"arm": "auto", "problem_id": "p", "budget": None, "ended": "error", "error": "X"}
    file.write_text(json.dumps(row) + "\n")
    assert main(["load", str(ROOT / "loadtest/plans/smoke.toml"), "--again", str(file)]) == 0
    assert capsys.readouterr().err == ""


def test_records_with_former_keys_are_read_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "records.jsonl"
    row = {"arm": "a", "problem_id": "p", "budget": None, "at": 3.0, "late": 0.5}
    rows = [{**row, "ended": "left", "client": "disconnecting"}, {**row, "client": "waiting"}]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    disconnected, answer = read_records(file)
    assert "at is now scheduled_at, late is now start_delay" in capsys.readouterr().err
    assert (disconnected.scheduled_at, disconnected.start_delay) == (3.0, 0.5)
    assert (disconnected.ended, answer.ended) == ("disconnected", "answer")
    assert answer.client == "normal"
