import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from paths import DATA
from simulated import simulated

from router.artifact import load
from router.commands import route_command
from router.evaluation.replay import replay
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeSet, read_outcomes
from router.policy import Policy
from tops import main

OUTCOMES = DATA / "outcomes"


def write(path: Path, dataset: OutcomeSet) -> Path:
    fields = ("problem_id", "model", "effort", "sample", "correct", "tokens", "weights")
    with path.open("w") as stream:
        for outcome in dataset.outcomes:
            row = {name: getattr(outcome, name) for name in fields}
            stream.write(json.dumps({**row, "prompt": outcome.messages}) + "\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("commands")
    outcomes = write(folder / "o.jsonl", simulated(600, seed=1, samples=2))
    fresh = write(folder / "fresh.jsonl", simulated(400, seed=2, samples=2))
    artifact = folder / "router.json"
    assert main(["fit", str(outcomes), "--out", str(artifact), "--max-loss", "0.03"]) == 0
    return folder, artifact, fresh


@pytest.mark.slow
def test_fit_prints_its_metrics(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, fresh = files
    out = folder / "again.json"
    options = ("--baseline", "medium", "--delta", "0.2", "--max-loss", "0.001")
    assert main(["fit", str(fresh), "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    for word in ("make-believe", "baseline medium", "ECE", "Brier", "held out"):
        assert word in printed
    assert load(out).delta == 0.2


def test_fit_fails_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "o.jsonl", simulated(10))
    assert main(["fit", str(path), "--out", str(tmp_path / "r.json")]) == 1
    assert "too few problems to fit a router: 10;" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()
    path = write(tmp_path / "o.jsonl", simulated(60))
    (tmp_path / "r.json.partial").mkdir()
    assert main(["fit", str(path), "--out", str(tmp_path / "r.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_route_explains_one_prompt(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = "Ada has 5 eggs. Ada finds 3 eggs. How many eggs does Ada have now?"
    assert main(["route", "--router", str(files[1]), prompt, "--max-loss", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert "P(correct)" in printed
    assert "difficulty" in printed


def test_route_reads_a_file_and_prints_objects(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"problem_id": "a", "prompt": "Ada has 5 eggs. Ada finds 3 eggs. '
        'How many eggs are there in the end?"}\n\n'
        '{"messages": [{"role": "user", "content": "hello"}]}\n'
    )
    assert main(["route", "--router", str(files[1]), "--input", str(path), "--json"]) == 0
    with_id, without_id = map(json.loads, capsys.readouterr().out.splitlines())
    assert with_id["problem_id"] == "a"
    assert set(with_id["p_correct"]) == {"none", "low", "medium", "high"}
    assert without_id["abstained"]
    refused = ("budget", "budgets", "difficulty", "p_correct", "tokens")
    assert [without_id[name] for name in refused] == [None] * 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[]", ":2: not an object"),
        (b"{", ":2: not JSON ("),
        (b'{"x": 1}', ":2: neither prompt nor messages"),
        (b'{"messages": []}', ":2: neither prompt nor messages"),
        (b'{"prompt": 5}', ":2: neither prompt nor messages"),
        (b"\xff\xfe\x80", " is not UTF-8 text"),
    ],
)
def test_a_line_without_a_prompt_is_named(
    files: tuple[Path, Path, Path], tmp_path: Path, line: bytes, message: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n' + line + b"\n")
    argv = ["--router", str(files[1]), "--input", str(path)]
    result = CliRunner().invoke(route_command, argv)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}{message}")


def test_standard_input_that_is_no_text_is_refused() -> None:
    result = CliRunner().invoke(route_command, input=b"\xff\xfe\x80")
    assert (result.exit_code, result.stderr) == (1, "Error: standard input is not UTF-8 text\n")


def test_a_router_without_budgets_says_so() -> None:
    result = CliRunner().invoke(route_command, ["--router", "portable", "What is 17 * 23?"])
    assert "; no budget\n" in result.stdout


@pytest.mark.parametrize(
    ("effort", "listed"),
    [
        ("xx", "none, low, medium, high\n"),
        ("hgih", "none, low, medium, high; did you mean high?\n"),
    ],
)
@pytest.mark.parametrize("command", ["route", "replay"])
def test_an_effort_that_the_router_does_not_have_is_refused(
    files: tuple[Path, Path, Path],
    capsys: pytest.CaptureFixture[str],
    command: str,
    effort: str,
    listed: str,
) -> None:
    argv = [command, "--router", str(files[1]), "--effort", effort, str(files[2])]
    assert main(argv) == 2
    assert capsys.readouterr().err.endswith(f"{effort} is none of the router's efforts: {listed}")


def test_route_fails_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["route", "--router", str(tmp_path / "r.json"), "hi"]) == 1
    assert "tops fit" in capsys.readouterr().err


def test_route_reads_standard_input_with_the_local_or_the_demo_router(
    files: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "Ada has 5 eggs. Ada finds 3 eggs. How many eggs does Ada have now?\n"
    monkeypatch.chdir(tmp_path)
    demo = CliRunner().invoke(route_command, ["--json"], input=prompt)
    assert demo.stderr.endswith("models/demo/router.json\n")
    assert json.loads(demo.stdout)["abstained"] is None
    shutil.copy(files[1], "router.json")
    local = CliRunner().invoke(route_command, ["--json"], input=prompt)
    assert local.stderr == "router: router.json\n"
    assert json.loads(local.stdout)["p_correct"] != json.loads(demo.stdout)["p_correct"]
    portable = CliRunner().invoke(route_command, ["--router", "portable", "--json", prompt])
    assert json.loads(portable.stdout)["p_correct"].keys() == {"low", "medium", "high"}
    lines = json.dumps({"problem_id": "a", "prompt": prompt}) + "\n"
    result = CliRunner().invoke(route_command, ["--json", "--input", "-"], input=lines * 2)
    assert [json.loads(line)["problem_id"] for line in result.stdout.splitlines()] == ["a", "a"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Give a PROMPT"),
        (["hi", "--input", "-"], "exclude each other"),
        (["hi", "--price", "inf"], "not a finite number"),
        (["hi", "--price", "0"], "x>0"),
        (["hi", "--max-loss", "2"], "0<=x<=1"),
        (["hi", "--max-loss", "0.1", "--effort", "low"], "exclude each other"),
    ],
)
def test_route_refuses_unusable_options(argv: list[str], message: str) -> None:
    result = CliRunner().invoke(route_command, argv)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_replay_on_the_fit_s_own_outcomes_says_so(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, artifact, fresh = files
    argv = ["replay", "--router", str(artifact), "--effort", "low"]
    assert main([*argv, str(folder / "o.jsonl")]) == 0
    assert "fitted on these outcomes too, with about 100% of its prompts" in capsys.readouterr().err
    assert main([*argv, str(fresh)]) == 0
    assert capsys.readouterr().err == ""
    document = json.loads(artifact.read_text())
    del document["provenance"]["prompt_sketch"]
    older = folder / "older.json"
    older.write_text(json.dumps(document))
    assert main([*argv[:2], str(older), str(folder / "o.jsonl")]) == 0
    assert capsys.readouterr().err == ""


def test_replay_prints_every_documented_field(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--router", str(files[1]), str(files[2]), "--json", "--max-loss", "0.03"]
    assert main(["replay", *argv]) == 0
    result = json.loads(capsys.readouterr().out)
    policy = result["policy"]
    assert set(policy) == {"accuracy", "tokens", "accuracy_ci", "tokens_ci", "efforts"}
    assert sum(policy["efforts"].values()) == pytest.approx(1)
    assert set(result["baselines"]) == {
        *(f"fixed:{effort}" for effort in ("none", "low", "medium", "high")),
        "random",
        "knn",
    }
    assert set(result["controls"]) == {"shuffled", "fixed_on_fit"}
    assert result["controls"]["shuffled"]["policy_accuracy_minus_ci"][0] > 0
    assert result["difficulty"]["auc_ci"][0] > 0.5
    high = result["baselines"]["fixed:high"]
    assert policy["tokens"] < 0.9 * high["tokens"]
    assert policy["accuracy"] > high["accuracy"] - 0.05
    assert result["baselines"]["random"]["tokens"] == pytest.approx(policy["tokens"])
    assert policy["accuracy"] > result["baselines"]["random"]["accuracy"]
    assert result["baselines"]["knn"]["tokens"] <= policy["tokens"]
    assert 0 < result["oracle_gap_closed"] <= 1
    assert result["oracle"]["tokens"] < 1.05 * policy["tokens"]
    assert result["oracle"]["cross_fitted"]
    assert result["problems"] == 400
    assert result["skipped"] == 0
    tokens = [point["tokens"] for point in result["frontier"]]
    assert tokens[0] > tokens[-1]


@pytest.mark.slow
def test_replay_of_a_fixed_policy_is_that_baseline(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--router", str(files[1]), str(files[2])]
    assert main(["replay", *argv, "--json", "--effort", "low"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["policy"]["accuracy"] == result["baselines"]["fixed:low"]["accuracy"]
    assert main(["replay", *argv]) == 0
    assert "fixed:high" in capsys.readouterr().out
    assert main(["replay", *argv, "--model", "other"]) == 1
    assert "no rows of model 'other'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not OUTCOMES.is_dir(), reason="the shared outcomes are not on this machine")
def test_a_router_of_real_outcomes_is_as_accurate_as_random_mixing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(OUTCOMES / "jhu_concise_cot.outcomes.csv.gz")
    out = str(tmp_path / "router.json")
    assert main(["fit", path, "--out", out, "--model", "gpt-35-turbo"]) == 0
    metrics = load(out).metrics
    assert metrics["ece"] < 0.04
    assert metrics["brier"] < metrics["brier_without_features"]
    assert metrics["tokens"] < 0.5 * metrics["baseline_tokens"]
    assert metrics["accuracy"] > metrics["baseline_accuracy"] - 0.01
    assert main(["replay", "--router", out, path, "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["policy"]["accuracy"] >= result["baselines"]["random"]["accuracy"]


@pytest.mark.skipif(not OUTCOMES.is_dir(), reason="the shared outcomes are not on this machine")
def test_a_real_log_with_one_effort_per_model_is_refused() -> None:
    path = OUTCOMES / "routellm.outcomes.csv.gz"
    dataset = read_outcomes([path], "gpt-4-1106-preview")
    assert {outcome.effort for outcome in dataset.outcomes} == {"strong"}


@pytest.mark.slow
@pytest.mark.skipif(not OUTCOMES.is_dir(), reason="the shared outcomes are not on this machine")
def test_the_certified_loss_holds_on_repeated_splits_of_real_outcomes() -> None:
    """Fitted on one half of the problems, the loss is measured on the other half."""
    dataset = read_outcomes([OUTCOMES / "bbh_codex.outcomes.csv.gz"])
    problems = sorted({outcome.problem_id for outcome in dataset.outcomes})
    policy = Policy(max_loss=0.03)
    saved = []
    for seed in range(2):
        half = {*np.random.default_rng(seed).permutation(problems)[::2].tolist()}
        fitting, judging = (
            replace(
                dataset,
                outcomes=tuple(o for o in dataset.outcomes if (o.problem_id in half) is inside),
            )
            for inside in (True, False)
        )
        artifact = fit(fitting, FitSettings(max_loss=policy.max_loss)).artifact
        result: Any = replay(artifact, judging, policy)
        fixed = result["baselines"][f"fixed:{artifact.baseline}"]
        assert fixed["accuracy"] - result["policy"]["accuracy"] <= policy.max_loss
        saved.append(1 - result["policy"]["tokens"] / fixed["tokens"])
    assert np.mean(saved) > 0.4
