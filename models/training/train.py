"""Runs the stages of a recipe in the folder of a run."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from models.training.plan import check_fits, plan_of, plan_text
from models.training.preflight import preflight
from models.training.recipe_file import read_recipe
from models.training.run import Run, RunError


def train(stage: str, recipe_file: Path, overrides: Sequence[str], folder: Path | None) -> None:
    """Run one stage, or with `all` every stage that is not finished yet.

    Args:
        stage: its name, or all.
        recipe_file: a TOML file.
        overrides: KEY=VALUE, each replaces a key of the recipe.
        folder: of the run; None is runs/NAME, by the recipe's name.

    Raises:
        RecipeError: the recipe cannot be used.
        RunError, ProblemError, GenerateError, JudgeError, OSError: a stage could not be finished;
            what is finished stays.
    """
    recipe = read_recipe(recipe_file, overrides)
    run = Run(recipe, (folder or Path("runs") / recipe.name).resolve(), _print)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from models.training.stages import stages_of  # noqa: PLC0415 - loads torch

    stages = stages_of(recipe)
    if stage != "all" and stage not in stages:
        raise RunError(f"there is no stage {stage}: {', '.join(stages)}, all")
    preflight(recipe)
    with run.locked():
        for selected in stages.values() if stage == "all" else [stages[stage]]:
            run.perform(selected)


def _print(line: str) -> None:
    print(line, flush=True)


def show_plan(recipe_file: Path, overrides: Sequence[str]) -> None:
    """Print what the stages of a recipe take, without running any.

    Raises:
        RecipeError: the recipe cannot be used.
        RunError: it lacks what a plan needs, or a stage does not fit; the plan is printed before.
    """
    recipe = read_recipe(recipe_file, overrides)
    rows = plan_of(recipe)
    assert recipe.plan is not None
    _print(plan_text(rows, recipe.plan))
    check_fits(rows, recipe.plan)
