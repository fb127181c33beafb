"""`tops calibrate` as a real process against the real embedded engine."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from endpoint import misbehaving
from processes import kill_when, run_tops, serving

from router.artifact import load


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    file.write_text(run_tops("problems", "--n", "30", "--seed", "4").stdout)
    return file


def command(problems: Path, url: str, out: Path, *flags: str) -> list[str]:
    words = ["calibrate", "--model", "demo", "--url", f"{url}/v1"]
    words += ["--problems", str(problems), "--efforts", "none,low,high", "--out", str(out)]
    return [*words, "--concurrency", "4", *flags]


def test_without_consent_only_the_pilot_runs(gateway: str, problems: Path, tmp_path: Path) -> None:
    out = tmp_path / "router.json"
    result = run_tops(*command(problems, gateway, out, "--price", "2"))
    assert result.returncode == 1
    assert "81 generations to go: about" in result.stderr
    assert "at 2 per million tokens" in result.stderr
    assert "Pass --yes to continue" in result.stderr
    assert (tmp_path / "router.outcomes.jsonl").read_text().count("\n") == 9
    assert not out.exists()
    again = run_tops(*command(problems, gateway, out))  # after the pilot
    assert again.returncode == 1
    assert "72 generations to go: about" in again.stderr
    assert "nan" not in again.stderr


def test_a_killed_calibration_continues_to_a_router(
    gateway: str, problems: Path, tmp_path: Path
) -> None:
    out, outcomes = tmp_path / "router.json", tmp_path / "outcomes.jsonl"
    words = command(problems, gateway, out, "--yes", "--outcomes", str(outcomes))
    finished = kill_when(words, outcomes, 30)
    again = run_tops(*words)
    assert again.returncode == 0, again.stderr
    assert f"{finished} of 90 are there already" in again.stderr
    rows = [json.loads(line) for line in outcomes.read_text().splitlines()]
    assert len(rows) == len({(r["problem_id"], r["effort"], r["sample"]) for r in rows}) == 90
    artifact = load(out)
    assert (artifact.model, artifact.efforts) == ("demo", ("none", "low", "high"))
    assert artifact.provenance["problems"] == 30
    assert "30 problems are few" in again.stderr
    assert "held out: ECE" in again.stdout


def test_the_budgets_of_a_gateway_s_router_cut_nothing_that_is_measured(
    problems: Path, tmp_path: Path
) -> None:
    file, few = tmp_path / "ledger.db", tmp_path / "problems.jsonl"
    few.write_text("".join(problems.read_text().splitlines(keepends=True)[:5]))
    efforts = ("--efforts", "none,low,high")
    with serving("--ledger", f"sqlite:///{file}") as gateway:
        assert httpx.get(f"{gateway.url}/ready").json()["router"] == "fitted"
        url = f"{gateway.url}/v1"
        for words in (
            ("generate", str(few), "--url", url, "--out", str(tmp_path / "outcomes.jsonl")),
            ("audit", "--engine", url, "--prompts", "5"),
        ):
            done = run_tops(*words, *efforts)
            assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(file)) as ledger:
        rows = ledger.execute("SELECT effort, budget_source, budget FROM requests").fetchall()
    assert len(rows) == 30
    assert {*rows} == {("none", "effort", 0), ("low", "none", None), ("high", "none", None)}


def test_bad_calls_are_reported(problems: Path, tmp_path: Path) -> None:
    out = tmp_path / "router.json"
    down = run_tops(*command(problems, "http://127.0.0.1:1", out, "--yes"))
    assert down.returncode == 1
    assert "did not answer" in down.stderr
    absent = run_tops(*command(tmp_path / "absent", "http://127.0.0.1:1", out))
    assert "there is no file" in absent.stderr
    assert "Traceback" not in down.stderr + absent.stderr
    none_lost = run_tops(*command(tmp_path / "absent", "http://x", out, "--max-loss", "0"))
    assert "there is no file" in none_lost.stderr
    for flags in (
        *(("--delta", "2"), ("--max-loss", "5"), ("--baseline", "max"), ("--efforts", "high")),
    ):
        refused = run_tops(*command(problems, "http://127.0.0.1:1", out, "--yes", *flags))
        assert refused.returncode == 2
        assert flags[0] in refused.stderr


def test_too_few_problems_are_refused_before_anything_is_sent(
    problems: Path, tmp_path: Path
) -> None:
    repeated = tmp_path / "repeated.jsonl"
    rows = [json.loads(line) for line in problems.read_text().splitlines()]
    twice = [{**rows[n % 20], "problem_id": n} for n in range(40)]
    repeated.write_text("".join(f"{json.dumps(row)}\n" for row in twice))
    with misbehaving() as endpoint:
        for file, flags in ((problems, ("--limit", "20")), (repeated, ())):
            words = command(file, f"{endpoint.url}/fine", tmp_path / "r.json", "--yes", *flags)
            result = run_tops(*words)
            assert result.returncode == 1
            assert "too few problems to fit a router: 20; give at least 30" in result.stderr
        assert endpoint.asked["fine"] == 0
    assert not (tmp_path / "r.outcomes.jsonl").exists()


def test_the_key_goes_to_the_endpoint_and_nowhere_else(problems: Path, tmp_path: Path) -> None:
    with misbehaving() as endpoint:
        words = command(problems, f"{endpoint.url}/fine", tmp_path / "r.json")
        words[words.index(f"{endpoint.url}/fine/v1")] = f"{endpoint.url}/fine"
        result = run_tops(*words, TOPS_UPSTREAM_API_KEY="sk-very-secret")
        assert endpoint.keys == {"Bearer sk-very-secret"}
    assert "sk-very-secret" not in result.stdout + result.stderr
    assert not any("sk-very" in file.read_text() for file in tmp_path.iterdir())
