"""Stage `evaluate`: accuracy and tokens of every model that was trained, held against each other.

Everything is per problem first (the mean of its samples), so that intervals, 95 % by bootstrap over
problems, are paired between models.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from models.outcomes.problem_sets import Problem
from models.training.examples import read_rows
from models.training.generation import generate_from, judge, judge_of
from models.training.page import page
from models.training.problems import load
from models.training.recipe import Recipe
from models.training.run import Work, write_whole
from router.arrays import Array
from router.bootstrap import percentile_interval, resampled_weights

_DRAWS = 1000
BANDS = ("easiest third", "middle third", "hardest third")


@dataclass(frozen=True)
class Policy:
    """One model at one effort on P problems: mean accuracy and tokens of each, both (P,)."""

    model: str
    effort: str
    accuracy: Array
    tokens: Array
    thinking: Array

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"{self.model}, {self.effort}"


class Bootstrap:
    """Draws of P problems, the same for all that is compared."""

    def __init__(self, problems: int, seed: int = 0) -> None:
        self._weights = resampled_weights(problems, _DRAWS, seed)

    def means(self, values: Array, rows: Array | None = None) -> Array:
        """The mean first, then that of each draw; of some of the problems where `rows` says so."""
        weights = self._weights if rows is None else self._weights * rows
        return weights @ values / np.maximum(weights.sum(axis=1), 1e-12)


def interval(means: Array) -> dict[str, float]:
    """A value and its interval, from `Bootstrap.means`."""
    low, high = percentile_interval(means[1:])
    return {"value": float(means[0]), "low": low, "high": high}


def evaluate(exported: str, work: Work) -> dict[str, Any]:
    """Generate from each model, judge, and write `report.json`, `report.html` and its plots.

    Efforts are told to the tag model, and to the exported one where it has kept its tags.

    Raises:
        ProblemError, RunError, GenerateError, JudgeError: see there.
    """
    recipe, counts = work.recipe, Counter[str]()
    with judge_of(recipe) as told:
        problems = load(recipe.data.evaluate, recipe.data, counts, told.unjudgeable)
    policies: list[Policy] = []
    for name, folder in work.inputs.items():
        tags = name == "tag" or (recipe.select.keep_tags and name == exported)
        efforts = [*(recipe.model.efforts if tags else ()), *([] if name == "tag" else ["auto"])]
        made = work.folder / f"{name}.generations.jsonl"
        generate_from(recipe, folder / "model", problems, efforts, recipe.evaluate, made, counts)
        outcomes = work.folder / f"{name}.outcomes.jsonl"
        judge(recipe, problems, made, outcomes, counts)
        policies += policies_of(name, problems, list(read_rows(outcomes)), efforts)
    report = compare(recipe, problems, policies)
    write_whole(work.folder / "report.json", json.dumps(report, indent=1) + "\n")
    write_whole(work.folder / "report.html", page(report, work.folder))
    return {**counts, "problems": len(problems), "report": str(work.folder / "report.html")}


def policies_of(
    name: str,
    problems: Sequence[Problem],
    outcomes: Sequence[Mapping[str, Any]],
    efforts: Sequence[str],
) -> list[Policy]:
    """A model's outcomes as policies; a problem that was refused counts as wrong at no tokens."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in outcomes:
        cells[row["effort"], row["problem_id"]].append(row)

    def means(effort: str, value: str) -> Array:
        found = [
            [row[value] or 0 for row in cells.get((effort, problem.problem_id), ())] or [0]
            for problem in problems
        ]
        return np.array([sum(one) / len(one) for one in found], dtype=float)

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
    """Which problems are in which third by difficulty; empty where difficulties are not known."""
    known = [problem.difficulty for problem in problems]
    if any(one is None for one in known) or len(set(known)) < 3:
        return {}
    difficulty = np.array(known, dtype=float)
    low, high = np.quantile(difficulty, [1 / 3, 2 / 3])
    thirds = (difficulty <= low, (difficulty > low) & (difficulty <= high), difficulty > high)
    return {name: rows.astype(float) for name, rows in zip(BANDS, thirds, strict=True)}


def compare(
    recipe: Recipe, problems: Sequence[Problem], policies: Sequence[Policy]
) -> dict[str, Any]:
    """The report: each policy in all and by band, and what each training changed."""
    draws, bands = Bootstrap(len(problems)), bands_of(problems)

    def figures(policy: Policy, rows: Array | None) -> dict[str, Any]:
        return {
            "accuracy": interval(draws.means(policy.accuracy, rows)),
            "tokens": interval(draws.means(policy.tokens, rows)),
            "thinking_tokens": interval(draws.means(policy.thinking, rows)),
        }

    told = [
        {
            "model": policy.model,
            "effort": policy.effort,
            **figures(policy, None),
            "bands": {name: figures(policy, rows) for name, rows in bands.items()},
        }
        for policy in policies
    ]
    return {
        "recipe": recipe.name,
        "problems": len(problems),
        "samples": recipe.evaluate.samples,
        "temperature": recipe.evaluate.temperature,
        "policies": told,
        "comparisons": [_held(draws, bands, a, b) for a, b in _compared(policies)],
        "shares": {
            one.model: _shares(one, [tag for tag in policies if tag.model == "tag"], problems)
            for one in policies
            if one.effort == "auto"
        },
    }


def _shares(
    alone: Policy, ladder: Sequence[Policy], problems: Sequence[Problem]
) -> dict[str, dict[str, float]]:
    """Which effort a model that decides by itself thinks like, as shares of each difficulty.

    On each problem that of the tag model whose tokens, there, are nearest to its own.
    """
    distances = np.stack([np.abs(one.tokens - alone.tokens) for one in ladder])
    nearest = distances.argmin(axis=0)
    levels = np.array([str(problem.difficulty or "") for problem in problems])
    order = sorted(set(levels.tolist()), key=lambda one: (len(one), one))
    return {
        level: {
            one.effort: float((nearest[levels == level] == at).mean())
            for at, one in enumerate(ladder)
        }
        for level in order
    }


def _compared(policies: Sequence[Policy]) -> list[tuple[Policy, Policy]]:
    """What is held against what: neighbours of the ladder, then each model against the one before.

    The tag model stands by its best fixed effort: the most accurate, the cheaper of equals.
    """
    ladder = [policy for policy in policies if policy.model == "tag"]
    best = max(ladder, key=lambda one: (one.accuracy.mean(), -one.tokens.mean()))
    alone = [policy for policy in policies if policy.effort == "auto"]
    pairs = [(b, a) for a, b in pairwise(ladder)]
    pairs += [(ladder[-1], ladder[0])] if len(ladder) > 2 else []
    pairs += [(one, best) for one in alone]
    return pairs + [(b, a) for a, b in pairwise(alone)]


def _held(
    draws: Bootstrap, bands: Mapping[str, Array], this: Policy, other: Policy
) -> dict[str, Any]:
    def difference(rows: Array | None) -> dict[str, Any]:
        tokens = draws.means(this.tokens, rows) / draws.means(other.tokens, rows)
        return {
            "accuracy": interval(draws.means(this.accuracy - other.accuracy, rows)),
            "tokens_ratio": interval(tokens),
        }

    return {
        "this": this.name,
        "other": other.name,
        **difference(None),
        "bands": {name: difference(rows) for name, rows in bands.items()},
    }
