"""`tops generate`: ask a model every problem at every effort, judge, and write outcomes.

Works over the API that serving uses. Each finished generation is one line, appended at once; a
rerun asks only for what is missing, so it may be stopped at any time.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TextIO

import httpx

from models.verify import is_correct, last_number
from router.effort import EFFORTS, is_effort

_RETRIES = 6
_TIMEOUT_SECONDS = 600
_RETRIED = (408, 409, 429, 500, 502, 503, 504)


class GenerateError(Exception):
    """The run cannot go on; the message says why."""


@dataclass(frozen=True)
class Job:
    """One generation to be made."""

    problem: dict[str, Any]
    effort: str
    sample: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from all others in an outcome file."""
        return self.problem["problem_id"], self.effort, self.sample


@dataclass(frozen=True)
class Request:
    """What every request of a run has in common."""

    url: str
    model: str
    temperature: float
    weights: str | None
    keep_responses: bool


def read_problems(file: Path) -> list[dict[str, Any]]:
    """Problems from JSON Lines.

    Raises:
        GenerateError: a line is broken, repeats a problem, or its answer is no number.
    """
    problems: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            problem = {name: str(row[name]) for name in ("problem_id", "prompt", "answer")}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise GenerateError(f"{file}, line {number}: {error!r}") from error
        if problem["problem_id"] in problems:
            raise GenerateError(f"{file}, line {number}: {problem['problem_id']} is there already")
        if last_number(problem["answer"]) is None:
            raise GenerateError(f"{file}, line {number}: {problem['answer']!r} is not a number")
        problems[problem["problem_id"]] = problem
    return list(problems.values())


def finished(file: Path, request: Request) -> set[tuple[str, str, int]]:
    """The model's generations that a file has; half a last line, left by a kill, is cut off.

    Raises:
        GenerateError: a line is broken, or tells of other weights of the same model.
    """
    if not file.exists():
        return set()
    raw = file.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        os.truncate(file, len(whole))
    done: set[tuple[str, str, int]] = set()
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            key = row["problem_id"], row["effort"], row["sample"]
            model, weights = row["model"], row["weights"]
        except (ValueError, KeyError, TypeError) as error:
            raise GenerateError(f"{file}, line {number}: {error!r}") from error
        if model != request.model:
            continue
        if weights != request.weights:
            raise GenerateError(
                f"{file}, line {number}: of weights {weights}, not {request.weights}: "
                "pass the same --weights, or another --out"
            )
        done.add(key)
    return done


async def ask(http: httpx.AsyncClient, request: Request, job: Job) -> dict[str, Any]:
    """One outcome row.

    Raises:
        GenerateError: the endpoint refused, kept failing, or sent no completion with its usage.
    """
    body = {
        "model": request.model,
        "messages": [{"role": "user", "content": job.problem["prompt"]}],
        "reasoning_effort": job.effort,
        "temperature": request.temperature,
    }
    failure, wait = "", 0.0
    for attempt in range(_RETRIES):
        if attempt:
            await asyncio.sleep(max(wait, 2**attempt * random.uniform(0.125, 0.25)))
        try:
            answer = await http.post(f"{request.url}/chat/completions", json=body)
        except httpx.TransportError as error:
            failure, wait = f"{type(error).__name__} {error}", 0.0
        else:
            if answer.status_code == 200:
                return outcome(request, job, _completion(request, answer))
            failure = f"HTTP {answer.status_code}: {answer.text[:300]}"
            if answer.status_code not in _RETRIED:
                break
            wait = retry_after(answer.headers.get("retry-after", ""))
    asked = f"{job.problem['problem_id']} at {job.effort}"
    raise GenerateError(f"{request.url} did not answer {asked}: {failure}")


def retry_after(header: str) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms; 0 for any other text."""
    if header.isdecimal():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max((when.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def _completion(request: Request, answer: httpx.Response) -> dict[str, Any]:
    try:
        completion = answer.json()
        _ = completion["choices"][0]["message"], completion["usage"]["completion_tokens"]
    except (ValueError, LookupError, TypeError) as error:
        raise GenerateError(
            f"{request.url} sent no chat completion with its usage: {answer.text[:300]}"
        ) from error
    return completion


def outcome(request: Request, job: Job, completion: dict[str, Any]) -> dict[str, Any]:
    """The outcome contract's row for one completion."""
    choice, usage = completion["choices"][0], completion["usage"]
    details: dict[str, Any] = usage.get("completion_tokens_details") or {}
    text: str = choice["message"].get("content") or ""
    truncated: bool = choice.get("finish_reason") == "length"
    return {
        "problem_id": job.problem["problem_id"],
        "prompt": job.problem["prompt"],
        "messages": None,
        "answer": job.problem["answer"],
        "model": request.model,
        "effort": job.effort,
        "sample": job.sample,
        "correct": int(is_correct(text, job.problem["answer"], truncated)),
        "tokens": usage["completion_tokens"],
        "thinking_tokens": details.get("reasoning_tokens"),
        "response": text if request.keep_responses else None,
        "truncated": truncated,
        "weights": request.weights,
    }


async def generate(jobs: Sequence[Job], request: Request, out: TextIO, concurrency: int) -> None:
    """Run the jobs, `concurrency` at a time, writing each row as it comes.

    Raises:
        GenerateError: one of them failed for good; the rows before it are kept.
    """
    progress = Progress(len(jobs))
    waiting = iter(jobs)

    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as http:

        async def work() -> None:
            for job in waiting:
                row = await ask(http, request, job)
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                out.flush()
                progress.step()

        workers = [asyncio.create_task(work()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            progress.end()


class Progress:
    """A progress line on standard error, renewed at most twice a second."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._begun = time.monotonic()
        self._shown = 0.0

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        if time.monotonic() - self._shown > 0.5:
            self._show()

    def end(self) -> None:
        """Leave the last state on a line of its own."""
        self._show()
        print(file=sys.stderr)

    def _show(self) -> None:
        self._shown = time.monotonic()
        rate = self._done / max(self._shown - self._begun, 1e-9)
        left = (self._total - self._done) / rate if rate else float("inf")
        line = f"\r{self._done}/{self._total} generations, {rate:.1f}/s, {left:.0f} s left  "
        print(line, end="", file=sys.stderr, flush=True)


def plan_jobs(
    problems: Iterable[dict[str, Any]], efforts: Sequence[str], samples: int
) -> list[Job]:
    """Every problem at every effort, so many times; shuffled, so that a part is a fair sample."""
    jobs = [
        Job(problem, effort, sample)
        for problem in problems
        for effort in efforts
        for sample in range(samples)
    ]
    random.Random(0).shuffle(jobs)
    return jobs


def generate_main(argv: Sequence[str]) -> int:
    """Returns 1 where the run could not be finished; what is finished is kept."""
    parser = argparse.ArgumentParser(
        prog="tops generate", description="Ask a model at every effort, judge, write outcomes."
    )
    parser.add_argument("problems", type=Path, help="JSON Lines with problem_id, prompt, answer")
    parser.add_argument("--out", type=Path, required=True, help="outcome file, appended to")
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="OpenAI-compatible API")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--efforts", default="none,low,medium,high")
    parser.add_argument("--samples", type=int, default=1, help="generations per problem and effort")
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--weights", help="hash of the weights, noted in each row")
    parser.add_argument("--keep-responses", action="store_true", help="write the answers' text")
    words = parser.parse_args(argv)
    if min(words.samples, words.concurrency) < 1:
        parser.error("--samples and --concurrency must be 1 or more")
    if words.samples > 1 and words.temperature <= 0:
        parser.error("several samples need a --temperature above 0, or they are all the same")
    efforts = list(dict.fromkeys(words.efforts.split(",")))
    if unknown := [effort for effort in efforts if not is_effort(effort)]:
        parser.error(f"--efforts has {', '.join(unknown)}; known: {', '.join(EFFORTS)}")
    request = Request(
        words.url.rstrip("/"), words.model, words.temperature, words.weights, words.keep_responses
    )
    try:
        jobs = plan_jobs(read_problems(words.problems), efforts, words.samples)
        done = finished(words.out, request)
        missing = [job for job in jobs if job.key not in done]
        print(f"{len(jobs) - len(missing)} of {len(jobs)} are there already", file=sys.stderr)
        if not missing:
            return 0
        with words.out.open("a") as out:
            asyncio.run(generate(missing, request, out, words.concurrency))
    except (GenerateError, OSError) as error:
        print(f"tops generate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0
