"""`tops audit --engine URL`: what the efforts of an engine do, as a command."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from effort_engine import EffortEngine, effort_engine
from engines import Running, running
from paths import ROOT
from processes import run_tops


@pytest.fixture
def inverted() -> Generator[EffortEngine]:
    with effort_engine(none=0, low=20, medium=300, high=60) as engine:
        yield engine


@pytest.fixture(scope="module")
def embedded() -> Generator[Running]:
    with running("embedded") as engine:
        yield engine


def audit(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run_tops("audit", *words, cwd=folder)


def measured(engine: EffortEngine, *words: str) -> dict[str, Any]:
    done = audit("--engine", f"http://127.0.0.1:{engine.port}", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_table_names_what_is_wrong_and_the_efforts_to_set(inverted: EffortEngine) -> None:
    done = audit("--engine", f"http://127.0.0.1:{inverted.port}", "--prompts", "8")
    assert done.returncode == 0, done.stderr
    assert "high thinks less than medium" in done.stdout
    assert done.stdout.splitlines()[-1] == "offered to a router: --efforts none,low,medium"
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("high  ")]
    assert row.endswith("inverted")


def test_the_settings_of_a_gateway_have_no_say(
    inverted: EffortEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tops.toml").write_text('baseline_effort = "low"\neffort_budgets = "low=9"\n')
    monkeypatch.setenv("TOPS_HOST", "0.0.0.0")
    monkeypatch.setenv("TOPS_UPSTREAM_API_KEY", "sk-1")
    url = f"http://127.0.0.1:{inverted.port}"
    done = audit(
        "--engine", url, "--efforts", "none,medium", "--prompts", "6", "--json", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["efforts"]) == ["none", "medium"]


def test_a_second_run_asks_only_what_is_missing(inverted: EffortEngine, tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    first = measured(inverted, "--prompts", "6", "--out", str(file))
    assert len(inverted.efforts) == 24
    lines = file.read_text().splitlines(keepends=True)
    assert "Ada" not in "".join(lines)
    file.write_text("".join(lines[:20]) + lines[20][:30])  # as one that was killed
    inverted.efforts.clear()
    assert measured(inverted, "--prompts", "6", "--out", str(file)) == first
    assert len(inverted.efforts) == 4
    inverted.efforts.clear()
    longer = measured(inverted, "--prompts", "7", "--out", str(file))
    assert len(inverted.efforts) == 4
    assert longer["prompts"] == 7


def test_other_conditions_are_measured_anew(inverted: EffortEngine, tmp_path: Path) -> None:
    file = str(tmp_path / "trials.jsonl")
    measured(inverted, "--prompts", "2", "--out", file)
    inverted.efforts.clear()
    measured(inverted, "--prompts", "2", "--out", file, "--max-tokens", "100")
    assert len(inverted.efforts) == 8


def test_own_prompts_and_efforts_are_asked(inverted: EffortEngine, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"question {n} " * 9}) + "\n" for n in range(7)))
    found = measured(inverted, "--problems", str(file), "--efforts", "low,high")
    assert list(found["efforts"]) == ["low", "high"]
    assert found["prompts"] == 7
    assert {body["messages"][0]["content"] for body in inverted.bodies} == {
        f"question {n} " * 9 for n in range(7)
    }


def test_the_demo_s_efforts_all_work(embedded: Running) -> None:
    done = audit("--engine", embedded.url, "--prompts", "8", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["offered"] == ["none", "low", "medium", "high"]
    assert {level["verdict"] for level in document["efforts"].values()} == {"works"}


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ([], 2, "Give OUTCOMES, or the --engine URL of a running engine."),
        (["--prompts", "9", "outcomes.jsonl"], 2, "--prompts: only with --engine."),
        (["--engine", "http://127.0.0.1:9", "--delta", "0.2"], 2, "--delta: not with --engine."),
        (["--engine", "http://127.0.0.1:9"], 1, "http://127.0.0.1:9/v1 cannot be measured"),
        (["--engine", "127.0.0.1:1"], 2, "--engine: '127.0.0.1:1' is not a URL"),
        (["--engine", "http://127.0.0.1:9", "--efforts", "low,huge"], 2, "--efforts: 'huge'"),
        (["--engine", "http://127.0.0.1:9", "--dialect", "openai"], 2, "set model to the name"),
    ],
)
def test_what_cannot_be_measured_is_said(words: list[str], status: int, sentence: str) -> None:
    done = audit(*words)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_there_and_a_file_of_something_else_are_named(
    inverted: EffortEngine, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{inverted.port}"
    done = audit("--engine", url, "--model", "other")
    assert "does not serve the model other, but scripted" in done.stderr
    file = tmp_path / "outcomes.jsonl"
    file.write_text('{"problem_id": "a"}\n')
    done = audit("--engine", url, "--out", str(file))
    assert done.returncode == 1
    assert "is no line of an audit: pass another --out" in done.stderr
    assert file.read_text() == '{"problem_id": "a"}\n'
