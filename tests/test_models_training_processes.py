"""Training in one process, in two, with an adapter, and from scratch; generation by a real vLLM."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from engines import VLLM, VLLM_ENVIRONMENT, VLLM_FLAGS
from paths import ROOT
from training_runs import PROBLEMS, command, copy_stages, kill_once, lines, manifest, trained

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

from safetensors.numpy import load_file

from models.training.worker_process import worker_process

TAG = ("tag.learning_rate=1e-3", "tag.epochs=2", "tag.save_steps=10")
TWO = ("launch.processes=2", *(f"{stage}.micro_batch=4" for stage in ("tag", "sft", "dpo")))
TWO_PROCESSES = (*TAG, *TWO, "tag.micro_batch=8")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has its base and its seed."""
    run = tmp_path_factory.mktemp("train") / "single"
    trained("base", run)
    trained("seed", run)
    return run


@pytest.fixture(scope="module")
def single(seeded: Path) -> Path:
    """A run whose tag model was trained in one process, not forked."""
    trained("tag", seeded, *TAG, worker=worker_process)
    return seeded


@pytest.fixture(scope="module")
def parallel(seeded: Path) -> Path:
    """A run whose tag model was trained in two processes."""
    run = seeded.parent / "parallel"
    copy_stages(seeded, run, "base", "seed")
    trained("tag", run, *TWO_PROCESSES)
    return run


def weights(run: Path, stage: str = "tag") -> dict[str, Any]:
    return load_file(run / stage / "model" / "model.safetensors")


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    return sum(float(((a[name] - b[name]) ** 2).sum()) for name in a) ** 0.5


def test_two_processes_learn_the_same_as_one(single: Path, parallel: Path) -> None:
    losses = [manifest(run, "tag")["loss"] for run in (single, parallel)]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    base = load_file(ROOT / "models" / "demo" / "model.safetensors")
    learned = distance(base, weights(single))
    assert distance(weights(single), weights(parallel)) < 0.01 * learned


def test_two_processes_resume_in_their_data_order(seeded: Path, parallel: Path) -> None:
    run = seeded.parent / "killed"
    copy_stages(seeded, run, "base", "seed")
    checkpoint = run / "tag" / "trainer" / "checkpoint-10" / "trainer_state.json"
    kill_once(command("tag", run, *TWO_PROCESSES), checkpoint.exists)  # in its second epoch
    assert trained("tag", run, *TWO_PROCESSES)["steps"] < 20
    uninterrupted, killed = weights(parallel), weights(run)
    assert all(abs(uninterrupted[name] - killed[name]).max() < 1e-3 for name in killed)


def test_a_base_from_scratch_resumes_where_it_was_killed(tmp_path: Path) -> None:
    scratch = (
        "tokens=300_000,hidden=32,intermediate=32,layers=1,heads=2,batch_tokens=4096,"
        "compile=false,checkpoint_minutes=0"
    )
    settings = (f"model={{scratch={{{scratch}}}}}", *TWO)
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    expected = trained("base", uninterrupted, *settings)
    assert expected["tokens"] >= 300_000
    checkpoint = killed / "base" / "trainer" / "checkpoint.pt"
    kill_once(command("base", killed, *settings), checkpoint.exists)
    assert not (killed / "base" / "model").exists()
    resumed = trained("base", killed, *settings)
    assert (resumed["tokens"], resumed["steps"]) == (expected["tokens"], expected["steps"])
    a, b = weights(uninterrupted, "base"), weights(killed, "base")
    assert all(abs(a[name] - b[name]).max() < 1e-3 for name in a)


def test_an_adapter_is_trained_and_merged(seeded: Path, tmp_path: Path) -> None:
    run = tmp_path / "lora"
    copy_stages(seeded, run, "base", "seed")
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


@pytest.mark.vllm
def test_a_real_vllm_generates_from_a_checkpoint(single: Path) -> None:
    if VLLM is None:
        pytest.skip("no vLLM here: make test-vllm sets one up")
    flags = ["--reasoning-parser", "qwen3", *VLLM_FLAGS]
    os.environ.update(VLLM_ENVIRONMENT)
    settings = (
        *TAG,
        f"engine.python={VLLM}",
        "engine.kind=vllm",
        f"engine.flags={json.dumps(flags)}",
    )
    generated = trained("generate", single, *settings)
    assert (generated["generations"], generated["refused"]) == (PROBLEMS * 3, 0)
    outcomes = [json.loads(line) for line in lines(single / "generate" / "generations.jsonl")]
    assert all(row["reasoning"] for row in outcomes)
    verified = trained("verify", single, *settings)
    assert verified["correct"] > PROBLEMS * 3 / 2
