"""Stage `export`: a folder that vLLM, transformers and the embedded engine load as it is.

Weights as safetensors, tokenizer with its chat template, generation defaults, and for the embedded
engine `ctranslate2/` and `reasoning_config.json`; besides `router.json` and a model card.
"""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from ctranslate2.converters import TransformersConverter
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.training.card import card
from models.training.generation import generate_from, judge, judge_of
from models.training.problems import load
from models.training.run import Work, write_whole
from router.artifact import save, weights_hash
from router.commands import summary
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeError, read_outcomes


def convert(checkpoint: Path, folder: Path, transition: str, ctranslate2: bool = True) -> None:
    """Write every format of `checkpoint` to `folder`, which appears when it is whole.

    Args:
        checkpoint: what transformers can load.
        folder: left as it is where it is there already.
        transition: closes a reasoning block that ran into its budget.
        ctranslate2: whether to add weights for the embedded engine.
    """
    if folder.is_dir():
        return
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    if not model.generation_config.do_sample:
        model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95)
    model.config.use_cache = True
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(part)
    if ctranslate2:
        TransformersConverter(str(part)).convert(str(part / "ctranslate2"))
    reasoning = {"reasoning_start_str": "<think>", "reasoning_end_str": f"{transition}</think>"}
    (part / "reasoning_config.json").write_text(json.dumps(reasoning, indent=2) + "\n")
    part.rename(folder)


def export(work: Work) -> dict[str, Any]:
    """Write `model/` for the recipe's chosen stage, with its router and its card.

    Raises:
        ProblemError, RunError, GenerateError, JudgeError: see there.
    """
    recipe, counts = work.recipe, Counter[str]()
    (chosen,) = (folder for name, folder in work.inputs.items() if name != "evaluate")
    folder = work.folder / "model"
    convert(chosen / "model", folder, recipe.model.transition, recipe.export.ctranslate2)
    router = (
        _fit_router(work, folder, counts) if recipe.data.router else "no problems in data.router"
    )
    report = json.loads((work.inputs["evaluate"] / "report.json").read_text())
    write_whole(folder / "README.md", card(recipe, report, router, chosen.name))
    return {**counts, "model": str(folder), "router": router.splitlines()[0]}


def _fit_router(work: Work, folder: Path, counts: Counter[str]) -> str:
    """Fit `router.json` on generations of the exported model; returns what it came to."""
    recipe = work.recipe
    with judge_of(recipe) as told:
        problems = load(recipe.data.router, recipe.data, counts, told.unjudgeable)
    made, judged = work.folder / "generations.jsonl", work.folder / "outcomes.jsonl"
    efforts, weights = recipe.export.router_efforts, weights_hash(folder)
    once = recipe.generate.model_copy(update={"samples": 1, "temperature": 0.6})
    generate_from(recipe, folder, problems, efforts, once, made, counts, weights)
    judge(recipe, problems, made, judged, counts)
    try:
        fitted = fit(read_outcomes([judged]), FitSettings(max_loss=recipe.export.max_loss))
    except OutcomeError as error:
        return f"no router: {error}"
    artifact = replace(fitted.artifact, model=recipe.name)  # not the name that it had in training
    save(artifact, folder / "router.json")
    return summary(fitted.artifact, recipe.export.max_loss)
