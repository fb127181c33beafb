"""Generates from a model and judges the answers; both files can be resumed row by row."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.outcomes.client import RequestSettings
from models.outcomes.generate import generate, plan_tasks, read_finished, report_refused
from models.outcomes.problem_sets import Problem
from models.outcomes.progress import progress_bar
from models.outcomes.verify import Judge
from models.training.examples import read_rows
from models.training.outcome_check import problems_of_outcomes
from models.training.recipe import Recipe, Sampling
from models.training.serving import MODEL, serving

_JUDGED_CONCURRENTLY = 64


def judge_of(recipe: Recipe) -> Judge:
    """The judge that the recipe's `[verify]` configures.

    Raises:
        JudgeError: `verify.by` names no way of judging.
    """
    return Judge(
        recipe.verify.seconds, recipe.verify.by, recipe.verify.processes, recipe.verify.run_code
    )


def generate_missing(
    problems: Sequence[Problem],
    efforts: Sequence[str],
    samples: int,
    endpoints: Sequence[RequestSettings],
    out: Path,
    concurrency: int,
    counts: Counter[str],
) -> None:
    """Append the missing ones of `samples` generations per problem and effort to `out`.

    Raises:
        GenerateError: all endpoints are down, or too many problems are refused; finished rows are
            kept.
    """
    tasks = plan_tasks(problems, efforts, samples)
    finished = read_finished(out, endpoints[0], problems)
    missing = [task for task in tasks if task.key not in finished]
    refusals = generate(missing, endpoints, out, concurrency) if missing else []
    report_refused(refusals)
    counts["generations"] += len(tasks) - len(refusals)
    counts["refused"] += len(refusals)


def generate_from(
    recipe: Recipe,
    model: Path,
    problems: Sequence[Problem],
    efforts: Sequence[str],
    sampling: Sampling,
    out: Path,
    counts: Counter[str],
    weights: str | None = None,
) -> None:
    """As `generate_missing`, from a checkpoint folder that is served for the duration."""
    with serving(recipe, model, out.parent / "serving" / model.parent.name) as names:
        endpoints = [
            RequestSettings(
                url=url,
                model=name,
                temperature=sampling.temperature,
                weights=weights,
                keep_responses=True,
                max_tokens=sampling.max_tokens,
                system=recipe.model.system,
                sampling=sampling.fields,
                seed=recipe.random_seed,
                template_effort=recipe.engine.kind == "llamacpp",
            )
            for url, name in names.items()
        ]
        concurrency = recipe.engine.concurrency
        generate_missing(problems, efforts, sampling.samples, endpoints, out, concurrency, counts)


def judge(
    recipe: Recipe, problems: Sequence[Problem], generations: Path, out: Path, counts: Counter[str]
) -> None:
    """Judge each row of `generations` once, and append it to the outcomes in `out`.

    Raises:
        JudgeError: a user's judge failed.
    """
    by_id = {problem.problem_id: problem for problem in problems}
    rows = list(read_rows(generations))
    finished = read_finished(out, _settings_of(rows), problems)
    missing = [
        row for row in rows if (row["problem_id"], row["effort"], row["sample"]) not in finished
    ]
    if missing:
        asyncio.run(_judge(recipe, missing, by_id, out))
    outcomes = list(read_rows(out))
    counts["correct"] += sum(row["correct"] for row in outcomes)
    counts["truncated"] += sum(row["truncated"] for row in outcomes)
    for warning in problems_of_outcomes(outcomes):
        print(f"{out.parent.name}: warning: {warning}", file=sys.stderr)


def _settings_of(rows: Sequence[dict[str, Any]]) -> RequestSettings:
    """The model and weights that generated `rows`, to find their outcomes by."""
    origin: dict[str, Any] = rows[0] if rows else {"model": MODEL, "weights": None}
    return RequestSettings("", origin["model"], 0.0, origin["weights"], keep_responses=True)


async def _judge(
    recipe: Recipe, rows: Sequence[dict[str, Any]], by_id: dict[str, Problem], out: Path
) -> None:
    queue = iter(rows)
    with (
        judge_of(recipe) as answer_judge,
        out.open("a", encoding="utf-8") as stream,
        progress_bar(len(rows), "judged") as progress,
    ):

        async def judge_rows() -> None:
            for row in queue:
                problem = by_id[row["problem_id"]]
                correct = await answer_judge.is_correct(
                    row["response"] or "",
                    problem.answer,
                    row["truncated"],
                    problem.check,
                    problem.prompt,
                )
                line = json.dumps({**row, "correct": int(correct)}, ensure_ascii=False)
                stream.write(f"{line}\n")
                stream.flush()
                progress.update()

        await asyncio.gather(*(judge_rows() for _ in range(_JUDGED_CONCURRENTLY)))


def shuffled(rows: Sequence[Any], seed: int) -> list[Any]:
    """The rows in a random order that depends on the seed only."""
    order = list(rows)
    random.Random(f"order:{seed}").shuffle(order)
    return order
