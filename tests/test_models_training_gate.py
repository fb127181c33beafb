"""The gate of a recipe: a run goes on only if its model solves enough problems."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT

from models.training.gate import gate
from models.training.recipe import Recipe
from models.training.recipe_file import RecipeError, read_recipe
from models.training.run import RunError, StageContext
from models.training.stages import stages_of

DEMO = ROOT / "models" / "demo"
SMOKE = ROOT / "models" / "recipes" / "smoke.toml"
PROBLEMS = 12


def recipe(accuracy: float, *overrides: str) -> Recipe:
    gate_table = f"gate={{accuracy={accuracy},problems={PROBLEMS},baseline=true}}"
    return read_recipe(SMOKE, [gate_table, *overrides])


def test_stages_after_the_gate_need_it() -> None:
    stages = stages_of(recipe(0.5))
    names = list(stages)
    assert names.index("tag") + 1 == names.index("gate") == names.index("generate") - 1
    assert "gate" in stages["generate"].needs
    later = stages_of(recipe(0.5, "gate.after=sft"))
    assert list(later).index("sft") + 1 == list(later).index("gate")
    assert "gate" in later["pairs"].needs
    assert "gate" in later["grpo"].needs


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gate.effort=max", "gate.effort is none of auto, high, low, medium"),
        ("gate.accuracy=25", "gate.accuracy"),
        ("grpo.start=base", "no stage tag or sft for a gate"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(override: str, message: str) -> None:
    extra = ["export.stage=grpo"] if "grpo" in override else []
    with pytest.raises(RecipeError, match=message):
        recipe(0.5, override, *extra)


@pytest.mark.slow
def test_the_gate_opens_at_its_accuracy_and_measures_once(tmp_path: Path) -> None:
    """The demo model in place of a tag model; it solves nearly all of these at `high`."""
    pytest.importorskip("torch", reason="needs the extra [train]")
    shutil.copytree(DEMO, tmp_path / "tag" / "model")
    (tmp_path / "base").mkdir()
    (tmp_path / "gate").mkdir()
    easy = "data.evaluate=[{stories={n=20,seed=3,split='test',steps=[1,3]}}]"

    def entered(accuracy: float) -> dict[str, Any]:
        inputs = {name: tmp_path / name for name in ("base", "tag")}
        return gate(StageContext(recipe(accuracy, easy), tmp_path / "gate", inputs))

    assert entered(0.5)["accuracy"] >= 0.5
    found = json.loads((tmp_path / "gate" / "gate.json").read_text())
    assert found["tag"]["effort"] == "high"
    assert found["base"]["effort"] == "auto"
    assert found["problems"] == PROBLEMS
    assert found["base"]["tokens"] < found["tag"]["tokens"]
    answers = (tmp_path / "gate" / "tag.generations.jsonl").read_text()
    assert len(answers.splitlines()) == PROBLEMS
    with pytest.raises(RunError, match=r"gate is closed: tag at high solves .* of 12 problems"):
        entered(1.01 - 0.01 if found["tag"]["accuracy"]["value"] < 1 else 1.0 + 1e-9)
