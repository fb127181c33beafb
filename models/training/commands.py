"""`tops train STAGE RECIPE.toml`: run one stage of a recipe, or all that are not up to date."""

import argparse
import errno
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models.outcomes.client import GenerateError
from models.outcomes.problem_sets import ProblemError
from models.outcomes.verify import JudgeError
from models.training.recipe_file import RecipeError, read_recipe
from models.training.run import Run, RunError

_REQUIRED_MODULES = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "peft",
    "accelerate",
    "tensorboard",
)


def train_main(argv: Sequence[str]) -> int:
    """Returns 1 where a stage could not be finished; what is finished is kept."""
    parser = argparse.ArgumentParser(
        prog="tops train",
        description="Train a thinking-optimal model: base, seed, tag, generate, verify, select, "
        "sft, pairs, dpo, evaluate, export.",
    )
    parser.add_argument("stage", help="a stage's name, or all")
    parser.add_argument("recipe", type=Path, help="a TOML file, such as models/recipes/smoke.toml")
    parser.add_argument("--run", type=Path, help="the run's folder (default: runs/NAME)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the recipe, such as sft.epochs=4",
    )
    words = parser.parse_args(argv)
    if missing := [name for name in _REQUIRED_MODULES if importlib.util.find_spec(name) is None]:
        print(
            f"tops train: {missing[0]} is not installed: pip install 'tops-server[train]'",
            file=sys.stderr,
        )
        return 1
    try:
        recipe = read_recipe(words.recipe, words.set)
        _train(words.stage, Run(recipe, (words.run or Path("runs") / recipe.name).resolve(), _say))
    except OSError as error:
        full = error.errno == errno.ENOSPC
        hint = ": make room, and run the same command again to go on" if full else ""
        print(f"tops train: {error}{hint}", file=sys.stderr)
        return 1
    except (RecipeError, RunError, ProblemError, GenerateError, JudgeError) as error:
        print(f"tops train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _train(stage: str, run: Run) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from models.training.stages import stages_of  # noqa: PLC0415 - loads torch

    stages = stages_of(run.recipe)
    if stage != "all" and stage not in stages:
        raise RunError(f"there is no stage {stage}: {', '.join(stages)}, all")
    with run.locked():
        for selected in stages.values() if stage == "all" else [stages[stage]]:
            run.perform(selected)


def _say(line: str) -> None:
    print(line, flush=True)
