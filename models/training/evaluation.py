"""Stage `evaluate`: accuracy and tokens of every trained model, compared on the same problems.

Every figure is first averaged over a problem's samples, so that the 95 % intervals of comparisons
between models are paired.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from models.outcomes.problem_sets import Problem
from models.training.examples import read_rows
from models.training.generation import generate_from, judge, judge_of
from models.training.html_report import html_report
from models.training.intervals import (
    accuracy_interval,
    difference_interval,
    resampled_interval,
)
from models.training.problems import load
from models.training.recipe import Recipe
from models.training.run import StageContext, write_whole
from router.arrays import Array
from router.bootstrap import resampled_weights

_DRAWS = 1000
BANDS = ("easiest third", "middle third", "hardest third")


@dataclass(frozen=True)
class Policy:
    """A model at an effort on P problems; `accuracy`, `tokens` and `thinking` are means, (P,)."""

    model: str
    effort: str
    accuracy: Array
    tokens: Array
    thinking: Array

    @property
    def name(self) -> str:
        """Model and effort, as reports show them."""
        return f"{self.model}, {self.effort}"


class Bootstrap:
    """Resamples of P problems; all comparisons share them, so that they are paired."""

    def __init__(self, problems: int, seed: int = 0) -> None:
        self._weights = resampled_weights(problems, _DRAWS, seed)

    def means(self, values: Array, mask: Array | None = None) -> Array:
        """Means (1 + draws,) of `values` (P,): of all problems first, then of each resample.

        `mask` (P,) is 1 for the problems that count and 0 for the others; the mean of a resample
        that has none of them is NaN.
        """
        weights = self._weights if mask is None else self._weights * mask
        total = weights.sum(axis=1)
        return np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=total > 0)


def evaluate(exported: str, context: StageContext) -> dict[str, Any]:
    """Generate from each model, judge, and write `report.json`, `report.html` and its plots.

    The tag model is evaluated at every effort. So is the stage `exported`, besides `auto`, if it
    was trained with its tags, and a base that knows efforts of its own. All others are evaluated at
    `auto` only.

    Raises:
        ProblemError: the problems cannot be read.
        RunError: an engine does not start.
        GenerateError: an engine fails or refuses too many problems.
        JudgeError: a user's judge failed.
    """
    recipe, counts = context.recipe, Counter[str]()
    with judge_of(recipe) as answer_judge:
        problems = load(recipe.data.evaluate, recipe.data, counts, answer_judge.unjudgeable)
    policies: list[Policy] = []
    for name, folder in context.inputs.items():
        obeys = has_tags(recipe, name, exported)
        efforts = [
            *(recipe.model.efforts if obeys else ()),
            *([] if name == "tag" else ["auto"]),
        ]
        generations = context.folder / f"{name}.generations.jsonl"
        outcomes = context.folder / f"{name}.outcomes.jsonl"
        model = folder / "model"
        if name == "base" and not model.is_dir():
            model = Path(str(recipe.model.base))
        generate_from(recipe, model, problems, efforts, recipe.evaluate, generations, counts)
        judge(recipe, problems, generations, outcomes, counts)
        policies += policies_of(name, problems, list(read_rows(outcomes)), efforts)
    report = compare(recipe, problems, policies)
    write_whole(context.folder / "report.json", json.dumps(report, indent=1) + "\n")
    write_whole(context.folder / "report.html", html_report(report, context.folder))
    return {**counts, "problems": len(problems), "report": str(context.folder / "report.html")}


def has_tags(recipe: Recipe, name: str, exported: str) -> bool:
    """Whether a stage's model was trained to obey the tags."""
    if recipe.grpo is not None and recipe.grpo.start == "base":
        trained = set(recipe.grpo.efforts) != {"auto"}
        return not recipe.model.tags or (name == "grpo" and trained)
    return name == "tag" or (recipe.select.keep_tags and name == exported)


def policies_of(
    name: str,
    problems: Sequence[Problem],
    outcomes: Sequence[Mapping[str, Any]],
    efforts: Sequence[str],
) -> list[Policy]:
    """A model's outcomes as one policy per effort; a refused problem is wrong, with 0 tokens."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in outcomes:
        cells[row["effort"], row["problem_id"]].append(row)

    def means(effort: str, column: str) -> Array:
        samples = [
            [row[column] or 0 for row in cells.get((effort, problem.problem_id), ())] or [0]
            for problem in problems
        ]
        return np.array([sum(values) / len(values) for values in samples], dtype=float)

    return [
        Policy(
            name,
            effort,
            means(effort, "correct"),
            means(effort, "tokens"),
            means(effort, "thinking_tokens"),
        )
        for effort in efforts
    ]


def bands_of(problems: Sequence[Problem]) -> dict[str, Array]:
    """Masks (P,) of the thirds by difficulty that have problems: equal levels are in one of them.

    Empty where a problem has no difficulty or there are fewer than three levels.
    """
    levels = [problem.difficulty for problem in problems]
    if any(level is None for level in levels) or len(set(levels)) < 3:
        return {}
    difficulty = np.array(levels, dtype=float)
    low, high = np.quantile(difficulty, [1 / 3, 2 / 3])
    thirds = (difficulty <= low, (difficulty > low) & (difficulty <= high), difficulty > high)
    return {
        name: mask.astype(float) for name, mask in zip(BANDS, thirds, strict=True) if mask.any()
    }


def compare(
    recipe: Recipe, problems: Sequence[Problem], policies: Sequence[Policy]
) -> dict[str, Any]:
    """The content of `report.json`: each policy in total and by band, and the comparisons."""
    bootstrap, bands = Bootstrap(len(problems)), bands_of(problems)

    def figures(policy: Policy, mask: Array | None) -> dict[str, Any]:
        accuracy = _within(policy.accuracy, mask)
        count = len(accuracy)
        return {
            "accuracy": accuracy_interval(accuracy),
            "tokens": resampled_interval(bootstrap.means(policy.tokens, mask), count),
            "thinking_tokens": resampled_interval(bootstrap.means(policy.thinking, mask), count),
        }

    rows = [
        {
            "model": policy.model,
            "effort": policy.effort,
            **figures(policy, None),
            "bands": {name: figures(policy, mask) for name, mask in bands.items()},
        }
        for policy in policies
    ]
    fixed = _fixed(policies)
    return {
        "recipe": recipe.name,
        "problems": len(problems),
        "samples": recipe.evaluate.samples,
        "temperature": recipe.evaluate.temperature,
        "policies": rows,
        "comparisons": [
            _comparison(bootstrap, bands, policy, reference)
            for policy, reference in _compared_pairs(policies)
        ],
        "shares": {
            policy.model: _nearest_effort_shares(policy, fixed, problems)
            for policy in policies
            if policy.effort == "auto" and fixed
        },
    }


def _within(values: Array, mask: Array | None) -> Array:
    """The values (P,) of the problems that count."""
    return values if mask is None else values[mask > 0]


def _fixed(policies: Sequence[Policy]) -> list[Policy]:
    """The first model, the tag model or a base with efforts of its own, at its fixed efforts."""
    first = policies[0].model
    return [policy for policy in policies if policy.model == first and policy.effort != "auto"]


def _nearest_effort_shares(
    policy: Policy, fixed: Sequence[Policy], problems: Sequence[Problem]
) -> dict[str, dict[str, float]]:
    """Which fixed effort of the tag model is nearest in tokens: its share of each difficulty."""
    distances = np.stack([np.abs(candidate.tokens - policy.tokens) for candidate in fixed])
    nearest = distances.argmin(axis=0)
    levels = np.array([str(problem.difficulty or "") for problem in problems])
    ordered_levels = sorted(set(levels.tolist()), key=lambda level: (len(level), level))
    return {
        level: {
            candidate.effort: float((nearest[levels == level] == index).mean())
            for index, candidate in enumerate(fixed)
        }
        for level in ordered_levels
    }


def _compared_pairs(policies: Sequence[Policy]) -> list[tuple[Policy, Policy]]:
    """(policy, reference) pairs: neighbouring efforts, then each model against earlier ones.

    A model that chooses its own effort is compared with the best fixed effort of the tag model (the
    most accurate, of equals the cheaper) and with the model trained before it; `grpo` also with
    `sft`, from which it started.
    """
    fixed = _fixed(policies)
    auto = [policy for policy in policies if policy.effort == "auto"]
    pairs = [(higher, lower) for lower, higher in pairwise(fixed)]
    if len(fixed) > 2:
        pairs.append((fixed[-1], fixed[0]))
    if fixed:
        best = max(fixed, key=lambda policy: (policy.accuracy.mean(), -policy.tokens.mean()))
        pairs += [(policy, best) for policy in auto]
    pairs += [(later, earlier) for earlier, later in pairwise(auto)]
    started = {policy.model: policy for policy in auto if policy.model in ("sft", "grpo")}
    if len(started) == 2 and (started["grpo"], started["sft"]) not in pairs:
        pairs.append((started["grpo"], started["sft"]))
    return pairs


def _comparison(
    bootstrap: Bootstrap, bands: Mapping[str, Array], policy: Policy, reference: Policy
) -> dict[str, Any]:
    def difference(mask: Array | None) -> dict[str, Any]:
        differences = _within(policy.accuracy - reference.accuracy, mask)
        tokens = bootstrap.means(policy.tokens, mask) / bootstrap.means(reference.tokens, mask)
        return {
            "accuracy": difference_interval(differences),
            "tokens_ratio": resampled_interval(tokens, len(differences)),
        }

    return {
        "this": policy.name,
        "other": reference.name,
        **difference(None),
        "bands": {name: difference(mask) for name, mask in bands.items()},
    }
