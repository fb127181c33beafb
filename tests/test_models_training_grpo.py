"""The stage `grpo` by its command, from the shipped demo model: killed, resumed, and refused.

The run of the whole smoke recipe in test_models_training.py has the stage too, from SFT.
"""

import importlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from training_runs import command, kill_once, lines, manifest, train, trained

from models.training.recipe_file import read_recipe

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")

import torch
from training_runs import SMOKE
from trl.trainer import grpo_trainer as grpo_trainer_of_trl

from models.training.grpo_trainer import leave_out_missing_rewards, trimmed
from models.training.stages import stages_of

ALONE = ("grpo.start=base", "export.stage=grpo")
"""GRPO of the base itself, without the stages before it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the stage, killed after its first checkpoint and resumed."""
    run = tmp_path_factory.mktemp("grpo") / "run"
    trained("base", run, *ALONE)
    checkpoint = run / "grpo" / "trainer" / "checkpoint-2" / "trainer_state.json"
    kill_once(command("grpo", run, *ALONE), checkpoint.exists)
    trained("grpo", run, *ALONE)
    return run


def test_a_killed_run_continues_with_the_next_step(run: Path) -> None:
    steps = [json.loads(line) for line in lines(run / "grpo" / "steps.jsonl")]
    assert [step["step"] for step in steps] == [0, 1, 2, 3]
    state = json.loads((run / "grpo" / "logs" / "trainer_state.json").read_text())
    assert state["global_step"] == 4


def test_the_manifest_tells_what_was_rewarded(run: Path) -> None:
    result = manifest(run, "grpo")
    assert result["rows"] == 2 * result["problems"]  # two efforts
    assert 0 < result["reward_last"] <= 1
    assert 10 < result["tokens_first"] < 200
    assert "steps.jsonl" in result["outputs"]


def test_the_weights_and_nothing_else_have_changed(run: Path) -> None:
    load_file: Any = importlib.import_module("safetensors.torch").load_file
    base = Path(str(read_recipe(SMOKE).model.base))
    before, after = (
        load_file(folder / "model.safetensors") for folder in (base, run / "grpo/model")
    )
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    settings = json.loads((run / "grpo" / "model" / "generation_config.json").read_text())
    assert (
        settings["temperature"]
        == json.loads((base / "generation_config.json").read_text())["temperature"]
    )


def test_a_borrowed_rollout_without_a_reward_is_no_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL warns of each, with prompt and answer."""
    logger = logging.getLogger(grpo_trainer_of_trl.__name__)
    monkeypatch.setattr(logger, "filters", [])
    leave_out_missing_rewards()
    logger.warning("All reward functions returned None for the following kwargs:\n{}")
    logger.warning("another")
    assert [record.message for record in caplog.records] == ["another"]


def test_the_trainer_itself_can_make_the_rollouts_and_a_user_s_function_reward_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rewarding.py").write_text(
        "def quiet(rollouts):\n    return [-rollout.tokens for rollout in rollouts]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    settings = ("grpo.rollouts=trainer", "grpo.steps=1", "grpo.reward=rewarding:quiet")
    result = trained("grpo", run, *ALONE, *settings, "grpo.batch=8", "grpo.micro_batch=8")
    assert result["reward_first"] == pytest.approx(-result["tokens_first"], rel=1e-3)
    assert result["tokens_first"] < 200


def test_a_reward_that_fails_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text("def reward(rollouts):\n    raise KeyError('pens')\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    status, printed = train("grpo", run, *ALONE, "grpo.reward=failing:reward")
    assert status == 1
    assert "the reward failing:reward failed: KeyError 'pens'" in printed
    assert "Traceback" not in printed


def test_a_reward_that_cannot_be_loaded_ends_the_stage_before_training(run: Path) -> None:
    status, printed = train("grpo", run, *ALONE, "grpo.reward=nowhere:reward")
    assert status == 1
    assert "grpo.reward: the reward nowhere:reward cannot be loaded" in printed
    assert "Traceback" not in printed


def test_from_the_base_there_are_no_stages_before() -> None:
    stages = stages_of(read_recipe(SMOKE, [*ALONE, "evaluate.besides=['grpo']"]))
    assert list(stages) == ["base", "grpo", "evaluate", "export"]
    assert list(stages["evaluate"].needs) == ["base", "grpo"]


def test_a_micro_batch_keeps_its_tokens_and_loses_shared_padding() -> None:
    inputs: dict[str, Any] = {
        "prompt_ids": torch.tensor([[0, 0, 5], [0, 6, 7]]),
        "prompt_mask": torch.tensor([[0, 0, 1], [0, 1, 1]]),
        "completion_ids": torch.tensor([[8, 9, 0, 0], [8, 0, 0, 0]]),
        "completion_mask": torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]),
        "tool_mask": torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0]]),
        "importance_sampling_ratio": torch.tensor([[1.0], [1.0]]),  # one per sample
        "advantages": torch.tensor([1.0, -1.0]),
    }
    result = trimmed(inputs)
    assert result["prompt_ids"].tolist() == [[0, 5], [6, 7]]
    assert result["completion_ids"].tolist() == [[8, 9], [8, 0]]
    assert result["tool_mask"].tolist() == [[1, 0], [1, 0]]
    assert result["importance_sampling_ratio"].shape == (2, 1)
    assert result["advantages"] is inputs["advantages"]
