"""The entire loop by its commands: killed and resumed, in two processes, with an adapter.

One small run of the smoke recipe serves most tests; those that need stages of their own copy the
run's earlier stages, which stay current because their settings are the same.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines import VLLM, VLLM_ENVIRONMENT, VLLM_FLAGS
from processes import ROOT, serving
from teacher import teaching

from models.domain.problems import unique_stories
from models.training.recipe_file import read_recipe
from models.training.run import RunError
from models.training.serving import serving as engine_of

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

from models.training.stages import stages_of
from tops import main

SMOKE = ROOT / "models" / "recipes" / "smoke.toml"
STAGES = [
    "base",
    "seed",
    "tag",
    "generate",
    "verify",
    "select",
    "sft",
    "pairs",
    "dpo",
    "evaluate",
    "export",
]
PROBLEMS = 24
QUICK = (
    f"data.train=[{{stories={{n={PROBLEMS},seed=2}}}}]",
    "data.router=[{stories={n=40,seed=4,split='validation'}}]",
    "sft.epochs=3",
    "pairs.temperature=2",  # of fewer samples, enough are still incorrect
)
"""The smoke recipe with fewer problems and epochs."""
SMALL_SEED = "data.seed=[{stories={n=16,seed=1,steps=[1,4]}}]"
TIMEOUT = 400
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch that wait do not spin: beside other tests, training is five times as fast."""


@pytest.mark.parametrize(
    ("besides", "judged", "added"),
    [
        (["sft", "dpo"], ["tag", "sft", "dpo", "dpo-2"], set[str]()),
        (["sft"], ["tag", "sft"], set[str]()),
        (
            ["sft-random", "sft"],
            ["tag", "sft-random", "sft"],
            {"select-random", "sft-random"},
        ),
    ],
)
def test_the_evaluated_models_determine_the_stages(
    besides: list[str], judged: list[str], added: set[str]
) -> None:
    stages = stages_of(read_recipe(SMOKE, ["dpo.rounds=2", f"evaluate.besides={besides}"]))
    assert set(stages) == {*STAGES, "pairs-2", "dpo-2"} | added
    assert list(stages["evaluate"].needs) == judged


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


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of the smoke recipe, killed twice on its way."""
    run = tmp_path_factory.mktemp("train") / "smoke"
    generations = run / "generate" / "generations.jsonl"
    kill_once(command("all", run), lambda: len(lines(generations)) >= 20)
    before_kill = lines(generations)
    checkpoint = run / "sft" / "trainer" / "checkpoint-20" / "trainer_state.json"
    kill_once(command("all", run), checkpoint.exists)
    assert lines(generations)[: len(before_kill) - 1] == before_kill[:-1]
    result = train("all", run)
    assert result.returncode == 0, result.stdout + result.stderr
    return run


def test_every_stage_left_its_manifest(smoke: Path) -> None:
    for stage in STAGES:
        stage_manifest = manifest(smoke, stage)
        assert stage_manifest["recipe"]["name"] == "smoke"
        assert stage_manifest["outputs"]
    keys = {
        (row["problem_id"], row["effort"], row["sample"])
        for row in map(json.loads, lines(smoke / "generate" / "generations.jsonl"))
    }
    assert len(keys) == len(lines(smoke / "verify" / "outcomes.jsonl")) == PROBLEMS * 3


def test_training_continued_from_its_checkpoint(smoke: Path) -> None:
    state = json.loads((smoke / "sft" / "logs" / "trainer_state.json").read_text())
    assert [row["step"] for row in state["log_history"]][:2] == [10, 20]
    rows = manifest(smoke, "sft")["rows"]
    assert manifest(smoke, "sft")["steps"] == 3 * -(-rows // 16)
    assert len(list((smoke / "sft" / "logs").glob("events.out.tfevents.*"))) == 2
    assert not (smoke / "sft" / "trainer").exists()


def test_a_second_run_has_nothing_to_do(smoke: Path) -> None:
    result = train("all", smoke)
    assert [line.split(":")[1][:11] for line in result.stdout.splitlines()] == [" up to date"] * 11


def test_the_exported_folder_can_be_served(smoke: Path) -> None:
    folder = smoke / "export" / "model"
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja", "router.json"} <= {
        file.name for file in folder.iterdir()
    }
    from transformers import AutoModelForCausalLM

    shipped = AutoModelForCausalLM.from_pretrained(ROOT / "models" / "demo").config
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == shipped.vocab_size
    story = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens are there now?"
    request = {"messages": [{"role": "user", "content": story}]}
    with serving("--model", str(folder)) as server:
        url = f"{server.url}/v1/chat/completions"
        for effort, source in (("high", "request"), ("auto", "router")):
            answer = httpx.post(url, json={**request, "reasoning_effort": effort}, timeout=30)
            assert answer.status_code == 200
            assert answer.headers["x-tops-source"] == source


def test_the_report_and_the_card_have_the_same_figures(smoke: Path) -> None:
    report = json.loads((smoke / "evaluate" / "report.json").read_text())
    policies = {(row["model"], row["effort"]): row for row in report["policies"]}
    efforts = ("low", "medium", "high")
    assert set(policies) == {
        *(("tag", effort) for effort in efforts),
        ("sft", "auto"),
        *(("dpo", effort) for effort in (*efforts, "auto")),
    }
    tokens = [policies["tag", effort]["thinking_tokens"]["value"] for effort in efforts]
    assert tokens == sorted(tokens)
    html = (smoke / "evaluate" / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 3
    assert "http" not in html.replace('xmlns="http', "")
    card = (smoke / "export" / "model" / "README.md").read_text()
    for row in policies.values():
        assert f"| {row['model']}, {row['effort']} | {row['accuracy']['value']:.1%} [" in card
    assert "dpo, auto against sft, auto" in card


def test_two_processes_learn_the_same_as_one(smoke: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    losses: list[float] = []
    weights: list[dict[str, Any]] = [load_file(ROOT / "models" / "demo" / "model.safetensors")]
    copy_stages(smoke, tmp_path, "base", "seed")
    for settings in ((), ("launch.processes=2", "tag.micro_batch=8")):
        losses.append(trained("tag", tmp_path, "tag.learning_rate=1e-3", *settings)["loss"])
        weights.append(load_file(tmp_path / "tag" / "model" / "model.safetensors"))

    def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
        return sum(float(((a[name] - b[name]) ** 2).sum()) for name in a) ** 0.5

    base, single, parallel = weights
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert distance(single, parallel) < 0.01 * distance(base, single)


def test_two_processes_resume_in_their_data_order(smoke: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    settings = ("launch.processes=2", "sft.micro_batch=8")
    models: list[dict[str, Any]] = []
    for name in ("uninterrupted", "killed"):
        run = tmp_path / name
        copy_stages(smoke, run, "base", "select")
        if name == "killed":  # in its second epoch
            checkpoint = run / "sft" / "trainer" / "checkpoint-20" / "trainer_state.json"
            kill_once(command("sft", run, *settings), checkpoint.exists)
        trained("sft", run, *settings)
        models.append(load_file(run / "sft" / "model" / "model.safetensors"))
    uninterrupted, killed = models
    assert all(abs(uninterrupted[name] - killed[name]).max() < 1e-3 for name in killed)


def test_running_engines_must_serve_the_stage_s_model(tmp_path: Path) -> None:
    with teaching({}) as engine:
        engine_table = f"engine={{kind='urls',urls=['{engine.url}']}}"
        recipe = read_recipe(SMOKE, [engine_table])
        with (
            pytest.raises(RunError, match=r"serves /nowhere: serve .*model there"),
            engine_of(recipe, tmp_path / "model", tmp_path),
        ):
            pass
        engine.served = ("trained", str(tmp_path / "model"))
        with engine_of(recipe, tmp_path / "model", tmp_path) as urls:
            assert urls == [engine.url]
        engine.served = ("other", str(tmp_path / "model"))
        with (
            pytest.raises(RunError, match="serves no such name"),
            engine_of(recipe, tmp_path / "model", tmp_path),
        ):
            pass


def test_a_base_from_scratch_resumes_where_it_was_killed(tmp_path: Path) -> None:
    scratch = (
        "tokens=300_000,hidden=32,intermediate=32,layers=1,heads=2,batch_tokens=4096,"
        "compile=false,checkpoint_minutes=0"
    )
    settings = (f"model={{scratch={{{scratch}}}}}", "launch.processes=2")
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    expected = trained("base", uninterrupted, *settings)
    assert expected["tokens"] >= 300_000
    checkpoint = killed / "base" / "trainer" / "checkpoint.pt"
    kill_once(command("base", killed, *settings), checkpoint.exists)
    assert not (killed / "base" / "model").exists()
    resumed = trained("base", killed, *settings)
    assert (resumed["tokens"], resumed["steps"]) == (expected["tokens"], expected["steps"])
    from safetensors.numpy import load_file

    a, b = (load_file(run / "base/model/model.safetensors") for run in (uninterrupted, killed))
    assert all(abs(a[name] - b[name]).max() < 1e-3 for name in a)


def test_an_adapter_is_trained_and_merged(smoke: Path, tmp_path: Path) -> None:
    run = tmp_path / "lora"
    copy_stages(smoke, run, "base", "seed")
    lora = ("tag.lora={rank=4,alpha=8}", "tag.learning_rate=1e-2", "tag.epochs=0.3")
    trained("tag", run, *lora)
    from transformers import AutoModelForCausalLM

    assert (run / "tag" / "adapter" / "adapter_model.safetensors").is_file()
    before = AutoModelForCausalLM.from_pretrained(ROOT / "models" / "demo").state_dict()
    after = AutoModelForCausalLM.from_pretrained(run / "tag" / "model").state_dict()
    assert before.keys() == after.keys()
    changed = [name for name in before if not before[name].equal(after[name])]
    assert changed
    assert all("proj" in name for name in changed)


def test_the_ablation_draws_as_many_answers_at_random(smoke: Path) -> None:
    ablation = trained("select-random", smoke, "evaluate.besides=['sft-random', 'sft']")
    assert ablation["examples"] == manifest(smoke, "select")["examples"]
    files = [smoke / stage / "examples.jsonl" for stage in ("select", "select-random")]
    shortest, drawn = (file.read_text() for file in files)
    assert shortest != drawn


def test_a_seed_from_a_teacher_over_http(smoke: Path, tmp_path: Path) -> None:
    stories = {story.prompt: story for story in islice(unique_stories(1, "train", 1, 4), 16)}
    with teaching(stories) as teacher:
        settings = (
            SMALL_SEED,
            "seed.source=teacher",
            f"seed.teacher={{url='{teacher.url}',model='t',concurrency=4}}",
            "mistakes.found_by=critic",
            f"mistakes.critic={{url='{teacher.url}',model='t'}}",
        )
        copy_stages(smoke, tmp_path, "base")
        seed = trained("seed", tmp_path, *settings)
    assert (seed["problems"], seed["examples"]) == (16, 48)
    assert seed["relabelled"] >= 2 * 14  # the teacher's `low` is its longest
    assert sorted(teacher.efforts) == sorted(["low", "medium", "high"] * 16)
    rows = [json.loads(line) for line in lines(tmp_path / "seed" / "examples.jsonl")]
    high = [row for row in rows if row["effort"] == "high"]
    assert all("Check" in row["reasoning"] for row in high)


def test_a_run_that_cannot_continue_says_why(
    smoke: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(stage: str, run: Path, *settings: str) -> str:
        assert main(["train", *command(stage, run, *settings)[4:]]) == 1
        return capsys.readouterr().err

    assert "run tops train base first" in error("seed", tmp_path)
    assert "there is no stage tags" in error("tags", tmp_path)
    assert "base nowhere cannot be loaded" in error("base", tmp_path, "model.base=nowhere")
    assert "the engine ended" in error("generate", smoke, "engine.flags=['--nonsense']")
    assert "cannot be loaded" in error("generate", smoke, "verify.by=nothing:there")
    same_tags = "model.tags={low='<|low|>',medium='<|low|>',high='<|high|>'}"
    foreign, plain = tmp_path / "foreign", tmp_path / "plain"
    for folder in (foreign, plain):
        shutil.copytree(ROOT / "models" / "demo", folder)
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    (plain / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert "do not belong together" in error("base", tmp_path, f"model.base={foreign}")
    assert "two of the efforts alike" in error("base", tmp_path, f"model.base={plain}", same_tags)
    (plain / "chat_template.jinja").unlink()
    assert "has no chat template" in error("base", tmp_path, f"model.base={plain}")
    unreachable = tmp_path / "unreachable"
    copy_stages(smoke, unreachable, "base")
    teacher = ("seed.source=teacher", "seed.teacher={url='http://127.0.0.1:1/v1',model='t'}")
    assert "did not answer" in error("seed", unreachable, SMALL_SEED, *teacher)


def test_a_full_disk_is_reported_and_loses_nothing(smoke: Path) -> None:
    """A limit on the size of files stands in for a full disk: both fail the same write."""
    trained("generate", smoke)  # an earlier test left the folder to another recipe
    words = command("verify", smoke, "verify.seconds=9")
    result = subprocess.run(
        ["bash", "-c", f"ulimit -f 16; exec {shlex.join(words)}"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr
    written = lines(smoke / "verify" / "outcomes.jsonl")
    assert len(written) > 10
    trained("verify", smoke, "verify.processes=1")
    judged = lines(smoke / "verify" / "outcomes.jsonl")
    assert len(judged) == PROBLEMS * 3
    assert judged[: len(written) - 1] == written[:-1]


@pytest.mark.vllm
def test_a_real_vllm_generates_from_a_checkpoint(smoke: Path) -> None:
    if VLLM is None:
        pytest.skip("no vLLM here: make test-vllm sets one up")
    flags = ["--reasoning-parser", "qwen3", *VLLM_FLAGS]
    os.environ.update(VLLM_ENVIRONMENT)
    settings = (f"engine.python={VLLM}", "engine.kind=vllm", f"engine.flags={json.dumps(flags)}")
    generated = trained("generate", smoke, *settings)
    assert (generated["generations"], generated["refused"]) == (PROBLEMS * 3, 0)
    outcomes = [json.loads(line) for line in lines(smoke / "generate" / "generations.jsonl")]
    assert all(row["reasoning"] for row in outcomes)
    verified = trained("verify", smoke, *settings)
    assert verified["correct"] > PROBLEMS * 3 / 2
