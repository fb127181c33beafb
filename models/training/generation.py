"""Generating from a model and judging what it wrote, a file each, both resumable row by row."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.outcomes.client import Request
from models.outcomes.generate import finished, make, plan_jobs, report_refused
from models.outcomes.problem_sets import Problem
from models.outcomes.progress import Progress
from models.outcomes.verify import Judge
from models.training.examples import read_rows
from models.training.recipe import Recipe, Sampling
from models.training.serving import MODEL, serving

_AT_ONCE = 64


def judge_of(recipe: Recipe) -> Judge:
    """The recipe's judge.

    Raises:
        JudgeError: there is no such way of judging.
    """
    return Judge(recipe.verify.seconds, recipe.verify.by, recipe.verify.processes)


def generate(
    problems: Sequence[Problem],
    efforts: Sequence[str],
    samples: int,
    requests: Sequence[Request],
    out: Path,
    concurrency: int,
    counts: Counter[str],
) -> None:
    """Append what is missing of `samples` generations of every problem and effort to `out`.

    Raises:
        GenerateError: an endpoint is down or refuses too much; what is finished is kept.
    """
    jobs = plan_jobs(problems, efforts, samples)
    done = finished(out, requests[0])
    missing = [job for job in jobs if job.key not in done]
    refused = make(missing, requests, out, concurrency) if missing else []
    report_refused(refused)
    counts["generations"] += len(jobs) - len(refused)
    counts["refused"] += len(refused)


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
    """As `generate`, from a checkpoint that is served meanwhile."""
    with serving(recipe, model, out.parent / "serving" / model.parent.name) as urls:
        requests = [
            Request(
                url=url,
                model=MODEL,
                temperature=sampling.temperature,
                weights=weights,
                keep_responses=True,
                max_tokens=sampling.max_tokens,
                system=recipe.model.system,
            )
            for url in urls
        ]
        generate(
            problems, efforts, sampling.samples, requests, out, recipe.engine.concurrency, counts
        )


def judge(
    recipe: Recipe, problems: Sequence[Problem], made: Path, out: Path, counts: Counter[str]
) -> None:
    """Judge every generation of `made` once; `out` gets the outcomes.

    Raises:
        JudgeError: a user's function failed.
    """
    gold = {problem.problem_id: problem.answer for problem in problems}
    rows = list(read_rows(made))
    done = finished(out, _judged_as(rows))
    missing = [row for row in rows if (row["problem_id"], row["effort"], row["sample"]) not in done]
    asyncio.run(_judge(recipe, missing, gold, out))
    judged = list(read_rows(out))
    counts["correct"] += sum(row["correct"] for row in judged)
    counts["truncated"] += sum(row["truncated"] for row in judged)


def _judged_as(rows: Sequence[dict[str, Any]]) -> Request:
    first: dict[str, Any] = rows[0] if rows else {"model": MODEL, "weights": None}
    return Request("", first["model"], 0.0, first["weights"], keep_responses=True)


async def _judge(
    recipe: Recipe, rows: Sequence[dict[str, Any]], gold: dict[str, str], out: Path
) -> None:
    if not rows:
        return
    progress = Progress(len(rows), "judged")
    waiting = iter(rows)
    with judge_of(recipe) as told, out.open("a", encoding="utf-8") as stream:

        async def work() -> None:
            for row in waiting:
                right = await told.is_correct(
                    row["response"] or "", gold[row["problem_id"]], row["truncated"]
                )
                line = json.dumps({**row, "correct": int(right)}, ensure_ascii=False)
                stream.write(f"{line}\n")
                stream.flush()
                progress.step()

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    progress.end()


def shuffled(rows: Sequence[Any], seed: int) -> list[Any]:
    """The rows in an order of chance, the same for the same seed."""
    mixed = list(rows)
    random.Random(f"order:{seed}").shuffle(mixed)
    return mixed
