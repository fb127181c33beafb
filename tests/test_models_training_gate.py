"""The gate of a recipe: a run goes on only if its model solves enough problems."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

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
def test_the_gate_opens_to_a_model_that_is_good_enough(tmp_path: Path) -> None:
    """The demo model in place of a tag model: at `low` it solves short stories only."""
    pytest.importorskip("torch", reason="needs the extra [train]")
    shutil.copytree(DEMO, tmp_path / "tag" / "model")
    (tmp_path / "base").mkdir()

    def entered(name: str, steps: str, effort: str) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir()
        problems = f"data.evaluate=[{{stories={{n=20,seed=3,split='test',steps={steps}}}}}]"
        inputs = {stage: tmp_path / stage for stage in ("base", "tag")}
        return gate(StageContext(recipe(0.5, problems, f"gate.effort={effort}"), folder, inputs))

    assert entered("open", "[1,3]", "medium")["accuracy"] >= 0.5
    found = json.loads((tmp_path / "open" / "gate.json").read_text())
    assert found["problems"] == PROBLEMS
    assert (found["tag"]["effort"], found["base"]["effort"]) == ("medium", "auto")
    answers = (tmp_path / "open" / "tag.generations.jsonl").read_text()
    assert len(answers.splitlines()) == PROBLEMS
    closed = r"gate is closed: tag at low solves .* of 12 problems \(the base: .*%\)"
    with pytest.raises(RunError, match=closed):
        entered("closed", "[9,9]", "low")
