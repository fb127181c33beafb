"""`tops generate`: ask a model every problem at every effort, judge, and write outcomes.

Works over the API that serving uses. Each finished generation is one line, appended at once; a
rerun asks only for what is missing, so it may be stopped at any time.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from models.outcomes.client import (
    GenerateError,
    Job,
    Refused,
    Request,
    answered,
    ask,
    client,
    outcome,
)
from models.outcomes.problem_sets import PUBLIC, Problem, ProblemError, read_problems
from models.outcomes.progress import Progress
from models.outcomes.verify import Judge
from router.artifact import weights_hash
from router.effort import EFFORTS, is_effort

_ENOUGH_TRIED = 20
_MOST_REFUSED = 0.1
API_KEY = "TOPS_UPSTREAM_API_KEY"
"""The environment variable of the endpoint's key."""


def finished(
    file: Path, request: Request, problems: Iterable[Problem] = ()
) -> set[tuple[str, str, int]]:
    """The model's generations that a file has; half a last line, left by a kill, is cut off.

    Raises:
        GenerateError: a line is broken, tells of other weights of the same model, or of another
            problem under the same id.
    """
    asked = {one.problem_id: (one.prompt, one.answer) for one in problems}
    if not file.exists():
        return set()
    raw = file.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        os.truncate(file, len(whole))
    done: set[tuple[str, str, int]] = set()
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            row = json.loads(line)
            key = row["problem_id"], row["effort"], row["sample"]
            model, weights = row["model"], row["weights"]
            problem = row.get("prompt"), row.get("answer")
        except (ValueError, KeyError, TypeError) as error:
            raise GenerateError(f"{file}, line {number}: {error!r}") from error
        if model != request.model:
            continue
        if weights != request.weights:
            raise GenerateError(
                f"{file}, line {number}: of weights {weights}, not {request.weights}: "
                "pass the same --weights, or another --out"
            )
        if problem != asked.get(key[0], problem):
            raise GenerateError(
                f"{file}, line {number}: {key[0]} was another problem then: name another --out"
            )
        done.add(key)
    return done


def plan_jobs(problems: Iterable[Problem], efforts: Sequence[str], samples: int) -> list[Job]:
    """Every problem at every effort, so many times; shuffled, so that a part is a fair sample."""
    jobs = [
        Job(problem, effort, sample)
        for problem in problems
        for effort in efforts
        for sample in range(samples)
    ]
    random.Random(0).shuffle(jobs)
    return jobs


def run(jobs: Sequence[Job], request: Request, out: Path, concurrency: int) -> list[str]:
    """Make the generations and judge them, `concurrency` at a time, each appended as it comes.

    Returns why problems were refused, a line each; those are left out.

    Raises:
        GenerateError: the endpoint is down or refuses too much; the rows before it are kept.
    """
    with Judge() as judge:
        return make(jobs, [request], out, concurrency, judge)


def make(
    jobs: Sequence[Job],
    requests: Sequence[Request],
    out: Path,
    concurrency: int,
    judge: Judge | None = None,
) -> list[str]:
    """As `run`, spread over several engines; without a judge, `correct` stays null."""
    with out.open("a", encoding="utf-8") as stream:
        return asyncio.run(_generate(jobs, requests, stream, judge, concurrency))


async def _generate(
    jobs: Sequence[Job],
    requests: Sequence[Request],
    out: TextIO,
    judge: Judge | None,
    concurrency: int,
) -> list[str]:
    progress = Progress(len(jobs))
    waiting = iter(jobs)
    refused: list[str] = []
    tried = 0

    async with client(concurrency) as http:

        async def work(request: Request) -> None:
            nonlocal tried
            for job in waiting:
                tried += 1
                try:
                    completion = await ask(http, request, job)
                except Refused as error:
                    refused.append(str(error))
                    check_refused(len(refused), tried, len(jobs), error)
                    continue
                correct = None
                if judge is not None:
                    text, truncated = answered(completion)
                    correct = await judge.is_correct(text, job.problem.answer, truncated)
                row = outcome(request, job, completion, correct)
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                out.flush()
                progress.step()

        engines = itertools.cycle(requests)
        workers = [asyncio.create_task(work(next(engines))) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            progress.end()
    return refused


def check_refused(refused: int, tried: int, planned: int, error: Refused) -> None:
    """Go on as long as refusals are few.

    Raises:
        GenerateError: too many of the first ones were refused, `error` the last of them.
    """
    if tried >= min(_ENOUGH_TRIED, planned) and refused > _MOST_REFUSED * tried:
        raise GenerateError(f"{refused} of {tried} generations were refused: {error}") from error


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What a run of generations can be told."""
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="OpenAI-compatible API")
    parser.add_argument("--efforts", default="none,low,medium,high", type=_efforts)
    parser.add_argument("--samples", type=_at_least_one, default=1, help="per problem and effort")
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--max-tokens", type=_at_least_one, help="completion tokens of an answer")
    parser.add_argument("--concurrency", type=_at_least_one, default=16)
    parser.add_argument(
        "--weights", type=_weights, help="the checkpoint's folder, or a hash; noted in each row"
    )
    parser.add_argument("--keep-responses", action="store_true", help="write the answers' text")


def request_of(words: argparse.Namespace, parser: argparse.ArgumentParser) -> Request:
    """The request of a run's arguments; the key comes from the environment."""
    if words.samples > 1 and words.temperature <= 0:
        parser.error("several samples need a --temperature above 0, or they are all the same")
    return Request(
        url=words.url.rstrip("/"),
        model=words.model,
        temperature=words.temperature,
        weights=words.weights,
        keep_responses=words.keep_responses,
        max_tokens=words.max_tokens,
        api_key=os.environ.get(API_KEY),
    )


def report_refused(refused: Sequence[str]) -> None:
    """Say on standard error what was left out."""
    if refused:
        print(f"{len(refused)} generations were refused and left out:", file=sys.stderr)
        print("\n".join(f"  {line}" for line in refused[:10]), file=sys.stderr)


def _efforts(text: str) -> list[str]:
    efforts = list(dict.fromkeys(text.split(",")))
    if unknown := [effort for effort in efforts if not is_effort(effort)]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; known: {', '.join(EFFORTS)}")
    return efforts


def _weights(text: str) -> str:
    folder = Path(text)
    if not folder.is_dir():
        return text
    if not any(folder.glob("*.safetensors")):
        raise argparse.ArgumentTypeError(f"{text} has no safetensors files")
    return weights_hash(folder)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of 1 or more")
    return int(text)


def generate_main(argv: Sequence[str]) -> int:
    """Returns 1 where the run could not be finished; what is finished is kept."""
    parser = argparse.ArgumentParser(
        prog="tops generate", description="Ask a model at every effort, judge, write outcomes."
    )
    parser.add_argument("problems", help=f"JSON Lines of problems, or {' or '.join(PUBLIC)}")
    parser.add_argument("--out", type=Path, required=True, help="outcome file, appended to")
    parser.add_argument("--model", default="demo")
    add_run_arguments(parser)
    words = parser.parse_args(argv)
    request = request_of(words, parser)
    try:
        problems = read_problems(words.problems)
        jobs = plan_jobs(problems, words.efforts, words.samples)
        done = finished(words.out, request, problems)
        missing = [job for job in jobs if job.key not in done]
        print(f"{len(jobs) - len(missing)} of {len(jobs)} are there already", file=sys.stderr)
        if missing:
            report_refused(run(missing, request, words.out, words.concurrency))
    except (GenerateError, ProblemError, OSError) as error:
        print(f"tops generate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0
