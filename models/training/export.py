"""Stage `export`: a folder that vLLM, transformers and the embedded engine can load.

It holds the converted checkpoint (`models.training.conversion`), `router.json` and a model card.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from models.training.card import card
from models.training.chat import Chat
from models.training.evaluation import has_tags
from models.training.generation import generate_from, judge, judge_of
from models.training.problems import load
from models.training.recipe import Recipe
from models.training.recipe_engine import Sampling
from models.training.run import StageContext, write_whole
from models.training.template_check import QUESTION, ChatError
from router.artifact import save, weights_hash
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeError, read_outcomes
from router.fitting.summary import summary


def export(context: StageContext) -> dict[str, Any]:
    """Write `model/` for the stage that the recipe exports, with its router and its card.

    Raises:
        ProblemError: the problems for the router cannot be read.
        RunError: the engine does not start.
        GenerateError: the engine fails or refuses too many problems.
        JudgeError: a user's judge failed.
    """
    from models.training.conversion import convert  # noqa: PLC0415 - loads torch

    recipe, counts = context.recipe, Counter[str]()
    (checkpoint,) = (folder for name, folder in context.inputs.items() if name != "evaluate")
    folder = context.folder / "model"
    table = recipe.export
    convert(
        checkpoint / "model",
        folder,
        recipe.model.transition,
        table.ctranslate2,
        table.temperature,
        table.top_p,
    )
    router = without_router(recipe, checkpoint.name) or _fit_router(context, folder, counts)
    report = json.loads((context.inputs["evaluate"] / "report.json").read_text())
    write_whole(folder / "README.md", card(recipe, report, router, checkpoint.name))
    return {**counts, "model": str(folder), "router": router.splitlines()[0]}


def without_router(recipe: Recipe, stage: str) -> str | None:
    """Why the model of a stage has no router, or None."""
    if not recipe.data.router:
        return "no problems in data.router"
    if recipe.export.router_efforts is None and not has_tags(recipe, stage, stage):
        return (
            "no router: the model was not trained at its efforts (select.keep_tags, grpo.efforts)"
        )
    return None


def _fit_router(context: StageContext, folder: Path, counts: Counter[str]) -> str:
    """Fit `router.json` on generations of the exported model; returns a summary of it."""
    recipe = context.recipe
    with judge_of(recipe) as answer_judge:
        problems = load(recipe.data.router, recipe.data, counts, answer_judge.unjudgeable)
    generations, outcomes = context.folder / "generations.jsonl", context.folder / "outcomes.jsonl"
    tokenizer: Any = import_module("transformers").AutoTokenizer.from_pretrained(folder)
    efforts = router_efforts(recipe, Chat(tokenizer, recipe.model.system))
    weights = weights_hash(folder)
    sampling = served_sampling(folder)
    generate_from(recipe, folder, problems, efforts, sampling, generations, counts, weights)
    judge(recipe, problems, generations, outcomes, counts)
    try:
        # the gateway's own baseline, so that it serves the router without a setting
        baseline = "high" if "high" in efforts else None
        settings = FitSettings(baseline, recipe.export.max_loss)
        fitted = fit(read_outcomes([outcomes]), settings)
    except OutcomeError as error:
        return f"no router: {error}"
    # the model was served under a name of its own while it was trained
    artifact = replace(fitted.artifact, model=recipe.name)
    save(artifact, folder / "router.json")
    return summary(fitted.artifact, recipe.export.max_loss)


def router_efforts(recipe: Recipe, chat: Chat) -> Sequence[str]:
    """The recipe's, or those of the model, with `none` where that is another prompt than `auto`."""
    if recipe.export.router_efforts is not None:
        return recipe.export.router_efforts
    efforts = recipe.model.efforts
    try:
        is_another = chat.prompt(QUESTION, "none") != chat.prompt(QUESTION, "auto")
    except ChatError:
        is_another = False
    return ("none", *efforts) if is_another and "none" not in efforts else efforts


def served_sampling(folder: Path) -> Sampling:
    """How an engine samples from the model for requests that say nothing of it."""
    defaults = json.loads((folder / "generation_config.json").read_text())
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    return Sampling.model_validate({n: defaults[n] for n in names if defaults.get(n) is not None})
