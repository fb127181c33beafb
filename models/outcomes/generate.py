"""`tops generate`: run every problem at every effort through a model, judge, write outcomes.

Works over the API that serving uses. Each finished generation is appended as one line at once, and
a rerun requests only the missing ones, so a run can be stopped at any time.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from models.outcomes.client import (
    GenerateError,
    GenerationTask,
    RefusedError,
    RequestSettings,
    http_client,
    outcome_row,
    visible_answer,
)
from models.outcomes.engines import Engines
from models.outcomes.problem_sets import Problem, read_problems
from models.outcomes.progress import progress_bar
from models.outcomes.verify import Judge
from router.json_text import parse_object

API_KEY_VARIABLE = "TOPS_UPSTREAM_API_KEY"
"""The environment variable that holds the endpoint's key."""

_ROW_BEGINS = b'{"problem_id": '
_CHECKED_FROM = 20
_MAX_REFUSED_SHARE = 0.1
_SHOWN_REFUSALS = 10


def read_finished(
    file: Path, settings: RequestSettings, problems: Iterable[Problem] = ()
) -> set[tuple[str, str, int]]:
    """Keys of the model's generations in a file; an incomplete last line is cut off.

    Raises:
        GenerateError: a line is no outcome, has other weights of the same model, another system
            message or kind of traffic, or another problem under the same id.
    """
    expected = {problem.problem_id: problem for problem in problems}
    if not file.exists():
        return set()
    raw = file.read_bytes()
    complete_lines = raw[: raw.rfind(b"\n") + 1]
    finished: set[tuple[str, str, int]] = set()
    for number, line in enumerate(complete_lines.split(b"\n")[:-1], 1):
        try:
            row = parse_object(line)
            key = str(row["problem_id"]), str(row["effort"]), row["sample"]
            model, weights = row["model"], row["weights"]
            prompt, answer = row.get("prompt"), row.get("answer")
            turns: Any = row.get("messages") or []
            if not isinstance(turns, list):
                raise ValueError("field messages is not a list")  # noqa: TRY004, TRY301
        except ValueError as error:
            raise GenerateError(
                f"{file}, line {number}, is no outcome ({error}): pass another --out"
            ) from error
        if model != settings.model:
            continue
        if weights != settings.weights:
            raise GenerateError(
                f"{file}, line {number}: has weights {weights}, not {settings.weights}: "
                "pass the same --weights, or another --out"
            )
        problem = expected.get(key[0])
        if expected and problem is None:  # of another run, with its own system message perhaps
            continue
        if turns[:-1] != settings.opening(problem):
            raise GenerateError(
                f"{file}, line {number}: had another system message: pass the same --system, or "
                "another --out"
            )
        if problem and (prompt, answer) != (problem.prompt, problem.answer):
            raise GenerateError(
                f"{file}, line {number}: {key[0]} was another problem then: pass another --out"
            )
        kind = settings.kind_of(problem) if problem else None
        if problem and row.get("kind", kind) != kind:  # rows of older versions have none
            raise GenerateError(
                f"{file}, line {number}: {key[0]} was of kind {row['kind']} then, not {kind}: "
                "pass the same --kind, or another --out"
            )
        finished.add(key)
    if incomplete := raw[len(complete_lines) :]:
        if not incomplete.startswith(_ROW_BEGINS[: len(incomplete)]):
            raise GenerateError(f"{file} is no outcome file: pass another --out")
        os.truncate(file, len(complete_lines))
    return finished


def plan_tasks(
    problems: Iterable[Problem], efforts: Sequence[str], samples: int
) -> list[GenerationTask]:
    """`samples` tasks for every problem at every effort.

    Shuffled with a fixed seed, so that the generations of an interrupted run are a fair sample.
    """
    tasks = [
        GenerationTask(problem, effort, sample)
        for problem in problems
        for effort in efforts
        for sample in range(samples)
    ]
    random.Random(0).shuffle(tasks)
    return tasks


def generate_judged(
    tasks: Sequence[GenerationTask],
    settings: RequestSettings,
    out: Path,
    concurrency: int,
    run_code: bool = False,
) -> list[str]:
    """As `generate` from one endpoint, with each answer judged; `run_code` is the judge's."""
    with Judge(run_code=run_code) as judge:
        return generate(tasks, [settings], out, concurrency, judge)


def generate(
    tasks: Sequence[GenerationTask],
    endpoints: Sequence[RequestSettings],
    out: Path,
    concurrency: int,
    judge: Judge | None = None,
) -> list[str]:
    """Append a row for each task to `out`, `concurrency` at a time, spread over the endpoints.

    Args:
        tasks: what to generate.
        endpoints: one or more engines that serve the same model. Rows name it as the first does.
        out: the outcome file.
        concurrency: requests in flight, over all endpoints together.
        judge: judges the answers; without it, `correct` stays null.

    Returns:
        Why problems were refused, a line for each; those have no row.

    Raises:
        GenerateError: all endpoints are down, or too many problems are refused; finished rows are
            kept.
    """
    with out.open("a", encoding="utf-8") as stream:
        return asyncio.run(_generate(tasks, endpoints, stream, judge, concurrency))


async def _generate(
    tasks: Sequence[GenerationTask],
    endpoints: Sequence[RequestSettings],
    out: TextIO,
    judge: Judge | None,
    concurrency: int,
) -> list[str]:
    queue = iter(tasks)
    engines = Engines(endpoints)
    refusals: list[str] = []
    started = 0

    async with http_client(concurrency) as http:
        with progress_bar(len(tasks)) as progress:

            async def complete_tasks() -> None:
                nonlocal started
                for task in queue:
                    started += 1
                    try:
                        completion = await engines.complete(http, task)
                    except RefusedError as error:
                        refusals.append(str(error))
                        check_refusals(len(refusals), started, len(tasks), error)
                        continue
                    correct = None
                    if judge is not None:
                        text, truncated = visible_answer(completion)
                        problem = task.problem
                        correct = await judge.is_correct(
                            text, problem.answer, truncated, problem.check, problem.prompt
                        )
                    row = outcome_row(endpoints[0], task, completion, correct)
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    out.flush()
                    progress.update()

            workers = [asyncio.create_task(complete_tasks()) for _ in range(concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
    return refusals


def check_refusals(refused: int, started: int, planned: int, error: RefusedError) -> None:
    """Raise where more than a tenth is refused, once 20 generations or all have started.

    Raises:
        GenerateError: too many were refused; `error` is the latest refusal.
    """
    if started >= min(_CHECKED_FROM, planned) and refused > _MAX_REFUSED_SHARE * started:
        raise GenerateError(f"{refused} of {started} generations were refused: {error}") from error


def report_refused(refusals: Sequence[str]) -> None:
    """Print how many generations were refused, and the first reasons, on standard error."""
    if refusals:
        print(f"{len(refusals)} generations were refused and left out:", file=sys.stderr)
        print("\n".join(f"  {line}" for line in refusals[:_SHOWN_REFUSALS]), file=sys.stderr)


def generate_outcomes(
    problems: str,
    settings: RequestSettings,
    efforts: Sequence[str],
    samples: int,
    concurrency: int,
    out: Path,
    run_code: bool = False,
) -> None:
    """Generate, judge and append to `out` whatever it does not have yet.

    Args:
        problems: a file of JSON Lines, or the name of a public set.
        settings: the endpoint and the model.
        efforts: each is run on every problem.
        samples: generations per problem and effort.
        concurrency: requests at the same time.
        out: outcome file.
        run_code: whether programs that a model has written may be run.

    Raises:
        GenerateError, ProblemError: the run cannot start or continue; finished generations stay.
    """
    selected = read_problems(problems, run_code=run_code)
    tasks = plan_tasks(selected, efforts, samples)
    finished = read_finished(out, settings, selected)
    missing = [task for task in tasks if task.key not in finished]
    print(f"{len(tasks) - len(missing)} of {len(tasks)} are there already", file=sys.stderr)
    if missing:
        report_refused(generate_judged(missing, settings, out, concurrency, run_code))
