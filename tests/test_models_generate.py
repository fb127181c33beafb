"""Outcomes through the serving API: complete, judged, resumable after a kill."""

import json
import re
import sys
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, misbehaving
from paths import ROOT
from processes import kill_when, run_tops
from tenacity import AsyncRetrying, RetryCallState, wait_none

from models.outcomes import client
from models.outcomes.client import parse_retry_after
from models.outcomes.progress import progress_bar
from router.kind import system_kind
from tops import main

EFFORTS = ("none", "high")


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    listing = run_tops("problems", "--n", "40", "--seed", "9", "--steps", "1-3")
    file.write_text(listing.stdout)
    return file


def command(problems: Path, url: str, out: Path, *flags: str) -> list[str]:
    words = ["generate", str(problems), "--url", f"{url}/v1"]
    return [*words, "--out", str(out), "--efforts", ",".join(EFFORTS), "--samples", "2", *flags]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_killed_run_continues_without_loss_or_repeats(
    gateway: str, problems: Path, tmp_path: Path
) -> None:
    out = tmp_path / "outcomes.jsonl"
    words = command(problems, gateway, out, "--concurrency", "4")
    finished = kill_when(words, out, 20)
    with out.open("a") as file:
        file.write('{"problem_id": "half a li')
    before = out.read_bytes()
    again = run_tops(*words)
    assert f"{finished} of 160 are there already" in again.stderr
    assert out.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    outcomes = rows(out)
    keys = {(row["problem_id"], row["effort"], row["sample"]) for row in outcomes}
    assert len(outcomes) == len(keys) == 160


def test_rows_follow_the_outcome_contract(gateway: str, problems: Path, tmp_path: Path) -> None:
    out = tmp_path / "outcomes.jsonl"
    assert run_tops(*command(problems, gateway, out)).returncode == 0
    outcomes = rows(out)
    gold = {row["problem_id"]: row for row in rows(problems)}
    for row in outcomes:
        assert row["prompt"] == gold[row["problem_id"]]["prompt"]
        assert row["correct"] in (0, 1)
        assert row["tokens"] > row["thinking_tokens"] >= 0
        assert row["response"] is None
        assert not row["truncated"]
    right = {
        effort: sum(row["correct"] for row in outcomes if row["effort"] == effort)
        for effort in EFFORTS
    }
    assert right["high"] > right["none"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "x"}', "line 41: field problem_id is missing"),
        ("{", "line 41: not JSON"),
        ("[]", "line 41: not an object"),
    ],
)
def test_a_broken_problem_file_is_named_by_line(
    problems: Path, tmp_path: Path, line: str, message: str
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(problems.read_text() + line + "\n")
    words = command(broken, "http://127.0.0.1:1", tmp_path / "out.jsonl")
    result = run_tops(*words)
    assert result.returncode == 1
    assert message in result.stderr


def test_an_endpoint_that_refuses_is_reported(gateway: str, problems: Path, tmp_path: Path) -> None:
    words = command(problems, gateway, tmp_path / "out.jsonl", "--model", "absent")
    result = run_tops(*words)
    assert result.returncode == 1
    assert "HTTP 404" in result.stderr


@pytest.fixture(scope="module")
def endpoint() -> Generator[Endpoint]:
    with misbehaving() as server:
        yield server


PROBLEM = '{"problem_id": "a", "prompt": "2 + 3?", "answer": 5}\n'


def generate(endpoint: Endpoint, name: str, folder: Path, *flags: str) -> int:
    file = folder / "problem.jsonl"
    if not file.exists():
        file.write_text(PROBLEM)
    words = [str(file), "--url", f"{endpoint.url}/{name}", "--out", str(folder / "out.jsonl")]
    return main(["generate", *words, "--efforts", "low", *flags])


@pytest.mark.parametrize("name", ["busy", "busy-date", "busy-odd", "cut-by-an-error"])
def test_a_busy_endpoint_is_retried(endpoint: Endpoint, tmp_path: Path, name: str) -> None:
    assert generate(endpoint, name, tmp_path) == 0
    assert endpoint.asked[name] == 3
    assert [row["correct"] for row in rows(tmp_path / "out.jsonl")] == [1]


def test_retries_wait_as_long_as_retry_after_says(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_BACKOFF", wait_none())
    start = time.monotonic()
    assert generate(endpoint, "busy-second", tmp_path) == 0
    assert time.monotonic() - start >= 2


def test_an_endpoint_that_stays_down_gets_six_attempts(
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(client, "_BACKOFF", wait_none())
    assert generate(endpoint, "status-503", tmp_path) == 1
    assert endpoint.asked["status-503"] == 6
    assert "did not answer a at low: HTTP 503" in capsys.readouterr().err


def test_a_read_timeout_is_not_retried(
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(client, "_READ_SECONDS", 0.05)
    before = endpoint.asked["slow"]
    assert generate(endpoint, "slow", tmp_path) == 1
    assert endpoint.asked["slow"] == before + 1
    assert "lower the concurrency or max_tokens" in capsys.readouterr().err


@pytest.mark.parametrize("status", [401, 404, 501])
def test_statuses_that_concern_every_problem_end_the_run_at_once(
    endpoint: Endpoint, tmp_path: Path, status: int
) -> None:
    assert generate(endpoint, f"status-{status}", tmp_path) == 1
    assert endpoint.asked[f"status-{status}"] == 1


def test_backoff_doubles() -> None:
    for attempt in range(1, 6):
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.attempt_number = attempt
        assert 2**attempt / 8 <= client._BACKOFF(state) <= 2**attempt / 4


def test_progress_in_a_log_is_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(300) as progress:
        for _ in range(300):
            progress.update()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\r" not in captured.err
    beginning, end = captured.err.splitlines()
    assert beginning.startswith("0/300 generations")
    assert end.startswith("300/300 generations (100 %)")


def test_retry_after_in_both_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < parse_retry_after(soon) <= 30
    assert parse_retry_after("7") == 7
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert parse_retry_after("100000") == parse_retry_after("9" * 400) == 300
    assert parse_retry_after("Wed, 21 Oct 99999999999 07:28:00 GMT") == 0
    assert parse_retry_after("inf") == parse_retry_after("-3") == parse_retry_after("") == 0


@pytest.mark.parametrize("name", ["html", "silent-usage", "parts", "null-message", "list-details"])
def test_an_answer_that_is_not_a_completion_is_reported(
    endpoint: Endpoint, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(endpoint, name, tmp_path) == 1
    assert "no chat completion with its usage" in capsys.readouterr().err
    assert endpoint.asked[name] == 1


@pytest.mark.parametrize(("name", "correct"), [("cut-number", 0), ("cut-later", 1)])
def test_a_truncated_answer_counts_only_if_it_is_complete(
    endpoint: Endpoint, tmp_path: Path, name: str, correct: int
) -> None:
    assert generate(endpoint, name, tmp_path) == 0
    (row,) = rows(tmp_path / "out.jsonl")
    assert row["truncated"]
    assert row["correct"] == correct


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--concurrency", "0"], "x>=1"),
        (["--samples", "0"], "x>=1"),
        (["--samples", "2", "--temperature", "0"], "above 0"),
        (["--efforts", "hgih"], "known efforts: none"),
        (["--weights", "nofolder"], "nofolder is neither a folder nor a hash"),
        (["--effort-prompts", "/dev/null"], "it is not JSON"),
        (["--system", sys.executable], "is not UTF-8 text"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    endpoint: Endpoint,
    tmp_path: Path,
    flags: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert generate(endpoint, "fine", tmp_path, *flags) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [(PROBLEM * 2, "line 2: a is there"), (PROBLEM.replace("5", '""'), "the answer is empty")],
)
def test_problems_that_cannot_be_judged_are_refused(
    endpoint: Endpoint, tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "problem.jsonl").write_text(text)
    assert generate(endpoint, "fine", tmp_path) == 1
    assert message in capsys.readouterr().err


def test_a_file_keeps_models_apart_and_refuses_other_weights(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("one", "two", "one"):
        assert generate(endpoint, "fine", tmp_path, "--model", model, "--weights", "1" * 64) == 0
    assert [row["model"] for row in rows(tmp_path / "out.jsonl")] == ["one", "two"]
    assert generate(endpoint, "fine", tmp_path, "--model", "one", "--weights", "2" * 64) == 1
    assert f"weights {'1' * 64}, not {'2' * 64}" in capsys.readouterr().err
    assert len(rows(tmp_path / "out.jsonl")) == 2


def test_another_problem_under_the_same_id_is_refused(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(endpoint, "fine", tmp_path) == 0
    (tmp_path / "problem.jsonl").write_text(PROBLEM.replace("5", "6"))
    assert generate(endpoint, "fine", tmp_path) == 1
    assert "was another problem then" in capsys.readouterr().err


def test_a_system_message_opens_every_request_and_is_in_every_row(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "system.txt"
    text.write_text("You count things.\n")
    assert generate(endpoint, "fine", tmp_path, "--system", str(text)) == 0
    (row,) = rows(tmp_path / "out.jsonl")
    told = {"role": "system", "content": "You count things."}
    assert row["messages"] == [told, {"role": "user", "content": row["prompt"]}]
    assert json.loads(endpoint.body)["messages"] == row["messages"]
    assert row["kind"] == system_kind("You count things.")
    assert generate(endpoint, "fine", tmp_path, "--system", str(text)) == 0
    assert len(rows(tmp_path / "out.jsonl")) == 1
    assert generate(endpoint, "fine", tmp_path) == 1
    assert "had another system message: pass the same --system" in capsys.readouterr().err


def test_problems_may_have_a_kind_and_a_system_message_of_their_own(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "system.txt"
    text.write_text("You count things.")
    own = {"a": {}, "b": {"system": "You add."}, "c": {"system": "You add.", "kind": "sums"}}
    lines = [{**json.loads(PROBLEM), "problem_id": name, **more} for name, more in own.items()]
    (tmp_path / "problem.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert generate(endpoint, "fine", tmp_path, "--system", str(text)) == 0
    told = {
        row["problem_id"]: (row["messages"][0]["content"], row["kind"])
        for row in rows(tmp_path / "out.jsonl")
    }
    assert told == {
        "a": ("You count things.", system_kind("You count things.")),
        "b": ("You add.", system_kind("You add.")),
        "c": ("You add.", "sums"),
    }
    assert generate(endpoint, "fine", tmp_path, "--system", str(text)) == 0
    assert generate(endpoint, "fine", tmp_path, "--system", str(text), "--kind", "x") == 1
    error = capsys.readouterr().err  # names the generation that was finished first
    assert re.search(r"(a|b) was of kind system:|c was of kind sums", error)
    (tmp_path / "problem.jsonl").write_text(json.dumps({**lines[0], "kind": ["x"]}))
    assert generate(endpoint, "fine", tmp_path) == 1
    assert "field kind is not text" in capsys.readouterr().err


def test_the_weights_of_a_folder_are_those_that_its_router_is_tied_to(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = ROOT / "models" / "demo"
    assert generate(endpoint, "fine", tmp_path, "--weights", str(demo)) == 0
    fitted = json.loads((demo / "router.json").read_text())["weights"]
    assert [row["weights"] for row in rows(tmp_path / "out.jsonl")] == [fitted]
    assert generate(endpoint, "fine", tmp_path, "--weights", str(tmp_path)) == 2
    assert "has no safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{broken\n", ", line 1, is no outcome (not JSON"),
        ("{}\n", ", line 1, is no outcome (field problem_id is missing): pass another --out"),
        ("[]\n", ", line 1, is no outcome (not an object)"),
        ("Notes, without a line's end", " is no outcome file: pass another --out"),
    ],
)
def test_a_file_of_another_kind_is_named_and_kept(
    endpoint: Endpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    (tmp_path / "out.jsonl").write_text(text)
    assert generate(endpoint, "fine", tmp_path) == 1
    assert f"out.jsonl{message}" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == text


def many(folder: Path) -> None:
    lines = (PROBLEM.replace('"a"', f'"{number}"') for number in range(60))
    (folder / "problem.jsonl").write_text("".join(lines))


def test_a_refused_problem_is_left_out_and_reported(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many(tmp_path)
    assert generate(endpoint, "picky", tmp_path, "--concurrency", "1") == 0
    log = capsys.readouterr().err
    assert "4 generations were refused and left out" in log
    assert "HTTP 400" in log
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 56


def test_an_endpoint_that_refuses_everything_stops_the_run(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many(tmp_path)
    assert generate(endpoint, "refuses", tmp_path, "--concurrency", "1") == 1
    assert "20 of 20 generations were refused" in capsys.readouterr().err
    assert endpoint.asked["refuses"] == 20


def test_redirects_are_not_followed(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = endpoint.asked["fine"]
    assert generate(endpoint, "moved", tmp_path) == 1
    assert "HTTP 307" in capsys.readouterr().err
    assert endpoint.asked["fine"] == before
