"""The entire loop by its commands: killed and resumed.

One small run of the smoke recipe serves most tests; those that need stages of their own copy the
run's earlier stages, which stay current because their settings are the same.
"""

import json
import re
import shlex
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import httpx
import pytest
from paths import ROOT
from processes import serving
from teacher import teaching
from training_runs import (
    ENVIRONMENT,
    PROBLEMS,
    SMOKE,
    TIMEOUT,
    command,
    copy_stages,
    kill_once,
    lines,
    manifest,
    train,
    trained,
)

from models.domain.problems import unique_stories
from models.training.export import served_sampling
from models.training.recipe_engine import Sampling
from models.training.recipe_file import read_recipe
from models.training.run import RunError
from models.training.serving import serving as engine_of

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

from models.training.stages import stages_of
from tops import main

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
    "grpo",
    "evaluate",
    "export",
]
SMALL_SEED = "data.seed=[{stories={n=16,seed=1,steps=[1,4]}}]"


@pytest.mark.parametrize(
    ("besides", "judged", "added"),
    [
        (["sft", "dpo"], ["tag", "sft", "dpo", "dpo-2"], set[str]()),
        (["sft", "grpo"], ["tag", "sft", "grpo"], set[str]()),
        (["sft"], ["tag", "sft"], set[str]()),
        (
            ["sft-random", "sft"],
            ["tag", "sft-random", "sft"],
            {"select-random", "sft-random"},
        ),
        (["sft", "retell"], ["tag", "sft", "retell"], {"retell"}),
    ],
)
def test_the_evaluated_models_determine_the_stages(
    besides: list[str], judged: list[str], added: set[str]
) -> None:
    settings = ["dpo.rounds=2", *(["retell.tokens=1"] if "retell" in besides else [])]
    stages = stages_of(read_recipe(SMOKE, [*settings, f"evaluate.besides={besides}"]))
    assert set(stages) == {*STAGES, "pairs-2", "dpo-2"} | added
    assert list(stages["evaluate"].needs) == judged


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of the smoke recipe, killed twice on its way."""
    run = tmp_path_factory.mktemp("train") / "smoke"
    generations = run / "generate" / "generations.jsonl"
    for stage in ("base", "seed", "tag"):
        trained(stage, run)
    kill_once(command("all", run), lambda: len(lines(generations)) >= 20)
    before_kill = lines(generations)
    checkpoint = run / "sft" / "trainer" / "checkpoint-20" / "trainer_state.json"
    kill_once(command("all", run), checkpoint.exists)
    assert lines(generations)[: len(before_kill) - 1] == before_kill[:-1]
    status, printed = train("all", run)
    assert status == 0, printed
    assert re.search(r"step \d+ of \d+, loss \d+\.\d+", printed)
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
    losses = [(row["step"], row["loss"]) for row in state["log_history"] if "loss" in row]
    assert [step for step, _ in losses][:2] == [10, 20]
    assert losses[-1][0] == manifest(smoke, "sft")["steps"]
    starts = [0, *(step for step, _ in losses)]
    total = sum(loss * (step - start) for start, (step, loss) in zip(starts, losses, strict=False))
    assert manifest(smoke, "sft")["loss"] == pytest.approx(total / losses[-1][0])
    rows = manifest(smoke, "sft")["rows"]
    assert manifest(smoke, "sft")["steps"] == 3 * -(-rows // 16)
    assert len(list((smoke / "sft" / "logs").glob("events.out.tfevents.*"))) == 2
    assert not (smoke / "sft" / "trainer").exists()


def test_a_second_run_has_nothing_to_do(smoke: Path) -> None:
    words = command("all", smoke)
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split(":")[1][:11] for line in result.stdout.splitlines()] == [
        " up to date"
    ] * len(STAGES)


def test_the_exported_folder_can_be_served(smoke: Path) -> None:
    folder = smoke / "export" / "model"
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja", "router.json"} <= {
        file.name for file in folder.iterdir()
    }
    assert served_sampling(folder) == Sampling(temperature=0.6, top_p=0.95)  # of its base
    from transformers import AutoModelForCausalLM

    shipped = AutoModelForCausalLM.from_pretrained(ROOT / "models" / "demo").config
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == shipped.vocab_size
    story = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens are there now?"
    request = {"messages": [{"role": "user", "content": story}]}
    with serving("--checkpoint", str(folder)) as server:
        assert httpx.get(f"{server.url}/ready").json()["router"] == "fitted"  # to these weights
        url = f"{server.url}/v1/chat/completions"
        for effort, sources in (("high", ["request"]), ("auto", ["router", "fallback"])):
            answer = httpx.post(url, json={**request, "reasoning_effort": effort}, timeout=30)
            assert answer.status_code == 200
            assert answer.headers["x-tops-source"] in sources


def test_the_report_and_the_card_have_the_same_figures(smoke: Path) -> None:
    report = json.loads((smoke / "evaluate" / "report.json").read_text())
    policies = {(row["model"], row["effort"]): row for row in report["policies"]}
    efforts = ("low", "medium", "high")
    assert set(policies) == {
        *(("tag", effort) for effort in efforts),
        ("sft", "auto"),
        ("grpo", "auto"),
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
    assert "grpo, auto against sft, auto" in card


def test_running_engines_must_serve_the_stage_s_model(tmp_path: Path) -> None:
    model = tmp_path / "tag" / "model"
    with teaching({}) as engine:
        recipe = read_recipe(SMOKE, [f"engine={{kind='urls',urls=['{engine.url}']}}"])
        refused = [
            (("trained", "/nowhere"), r"serves /nowhere as trained: serve .*model there"),
            (("trained-tag", "/nowhere"), "serves /nowhere as trained-tag: serve"),
            (("trained", None), "serves trained: serve .* under the name trained-tag"),
            (("other", str(model)), "serves other: serve"),
        ]
        for served, message in refused:
            engine.served = served
            with pytest.raises(RunError, match=message), engine_of(recipe, model, tmp_path):
                pass
        # vLLM tells the folder; SGLang repeats the name, and llama.cpp tells nothing
        for served in [
            ("trained", str(model)),
            ("trained-tag", "trained-tag"),
            ("trained-tag", None),
        ]:
            engine.served = served
            with engine_of(recipe, model, tmp_path) as names:
                assert names == {engine.url: served[0]}


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
    assert "renders low and medium alike" in error(
        "base", tmp_path, f"model.base={plain}", same_tags
    )
    names = json.loads((plain / "tokenizer_config.json").read_text())
    names.pop("eos_token")
    (plain / "tokenizer_config.json").write_text(json.dumps(names))
    assert "has no eos_token" in error("base", tmp_path, f"model.base={plain}")
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
