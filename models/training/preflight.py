"""What would end a later stage of a run is said before the first: missing problems, files, code."""

from collections.abc import Iterator
from pathlib import Path

from models.training.generation import judge_of
from models.training.recipe import Recipe
from models.training.rewards import RewardError, reward_of
from models.training.run import RunError


def preflight(recipe: Recipe) -> None:
    """Refuse a recipe that names what is not there.

    Raises:
        RunError: a stage has no problems, a file is missing, a reward cannot be loaded, or an
            adapter cannot be merged.
        JudgeError: `verify.by` names no way of judging.
    """
    for key in _missing_problems(recipe):
        raise RunError(f"{key} names no problems: give it at least one source")
    for key, path in _files(recipe):
        if not path.is_file():
            raise RunError(f"{key}: there is no file {path}")
    _check_adapters(recipe)
    with judge_of(recipe):
        pass
    if recipe.grpo is not None:
        try:
            reward_of(recipe.grpo.reward)
        except RewardError as error:
            raise RunError(f"grpo.reward: {error}") from error


def _check_adapters(recipe: Recipe) -> None:
    file = recipe.launch.accelerate
    if file is None or "distributed_type: FSDP" not in file.read_text(errors="replace"):
        return
    trainings = {"tag": recipe.tag, "sft": recipe.sft, "dpo": recipe.dpo, "grpo": recipe.grpo}
    for name, settings in trainings.items():
        if settings is not None and settings.lora is not None:
            raise RunError(
                f"{name}.lora: an adapter cannot be merged into a model that FSDP shards: remove "
                f"it ({name}.lora = false), or launch.accelerate"
            )


def _missing_problems(recipe: Recipe) -> Iterator[str]:
    data = recipe.data
    from_base = recipe.grpo is not None and recipe.grpo.start == "base"
    if not data.seed and recipe.seed.source != "file" and not from_base:
        yield "data.seed"
    if not data.train:
        yield "data.train"
    if not data.evaluate:
        yield "data.evaluate"


def _files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """The files that a recipe names, by their keys."""
    data = recipe.data
    tables = {"seed": data.seed, "train": data.train, "evaluate": data.evaluate}
    for name, sources in {**tables, "router": data.router}.items():
        for number, source in enumerate(sources):
            if source.path is not None:
                yield f"data.{name}.{number}.path", source.path
    if recipe.seed.source == "file" and recipe.seed.path is not None:
        yield "seed.path", recipe.seed.path
    if recipe.launch.accelerate is not None:
        yield "launch.accelerate", recipe.launch.accelerate
