"""Stage `gate`: the run stops here, with a sentence, unless a model is good enough to go on."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.outcomes.problem_sets import Problem
from models.training.evaluation import Policy, policies_of
from models.training.examples import read_rows
from models.training.generation import generate_from, judge, judge_of
from models.training.intervals import Figure, accuracy_interval
from models.training.problems import load
from models.training.recipe import Recipe
from models.training.run import RunError, StageContext, write_whole


def gate(context: StageContext) -> dict[str, Any]:
    """Measure the model of the stage before, and write `gate.json`.

    Raises:
        RunError: its accuracy is too low, or there are too few problems to measure it.
        ProblemError, GenerateError, JudgeError: see `models.training.evaluation.evaluate`.
    """
    recipe, settings, counts = context.recipe, context.recipe.gate, Counter[str]()
    assert settings is not None
    with judge_of(recipe) as answer_judge:
        problems = load(recipe.data.evaluate, recipe.data, counts, answer_judge.unjudgeable)
    if len(problems) < settings.problems:
        raise RunError(
            f"gate.problems = {settings.problems}, and data.evaluate has {len(problems)} problems"
        )
    problems = problems[: settings.problems]
    highest = recipe.model.efforts[-1]
    effort = settings.effort or (highest if settings.after == "tag" else "auto")
    measured: dict[str, Any] = {"required": settings.accuracy, "problems": len(problems)}
    model = context.inputs[settings.after] / "model"
    measured[settings.after] = _measured(context, settings.after, model, problems, effort, counts)
    if settings.baseline:
        scratch = context.inputs["base"] / "model"
        untouched = scratch if scratch.is_dir() else Path(str(recipe.model.base))
        measured["base"] = _measured(context, "base", untouched, problems, "auto", counts)
    write_whole(context.folder / "gate.json", json.dumps(measured, indent=1) + "\n")
    reached: Figure = measured[settings.after]["accuracy"]
    if reached["value"] < settings.accuracy:
        base = measured["base"]["accuracy"]["value"] if "base" in measured else None
        before = "" if base is None else f" (the base: {base:.1%})"
        raise RunError(
            f"the gate is closed: {settings.after} at {effort} solves {reached['value']:.1%} "
            f"[{reached['low']:.1%}, {reached['high']:.1%}] of {len(problems)} problems"
            f"{before}, and gate.accuracy is {settings.accuracy:.1%}; train it longer, take a "
            "larger base, or lower the gate"
        )
    return {"accuracy": reached["value"], **counts}


def _measured(
    context: StageContext,
    name: str,
    model: Path,
    problems: Sequence[Problem],
    effort: str,
    counts: Counter[str],
) -> dict[str, Any]:
    """The accuracy of a model with its interval, and its mean tokens."""
    generations = context.folder / f"{name}.generations.jsonl"
    outcomes = context.folder / f"{name}.outcomes.jsonl"
    recipe: Recipe = context.recipe
    sampling = recipe.evaluate.model_copy(update={"samples": 1})
    generate_from(recipe, model, problems, [effort], sampling, generations, counts)
    judge(recipe, problems, generations, outcomes, counts)
    policy: Policy = policies_of(name, problems, list(read_rows(outcomes)), [effort])[0]
    return {
        "effort": effort,
        "accuracy": accuracy_interval(policy.accuracy),
        "tokens": float(np.mean(policy.tokens)),
        "thinking_tokens": float(np.mean(policy.thinking)),
    }
