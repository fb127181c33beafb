"""`tops calibrate`: run one's own model over problems at every effort, judge, and fit its router.

Ten generations or so first, to tell what the rest will cost; they are part of the run. Like
`tops generate` it appends each finished generation at once and a rerun goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.outcomes.client import GenerateError, Job, Request
from models.outcomes.generate import (
    add_run_arguments,
    finished,
    plan_jobs,
    report_refused,
    request_of,
    run,
)
from models.outcomes.problem_sets import PUBLIC, Problem, ProblemError, read_problems
from router.artifact import save
from router.commands import summary
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeError, read_outcomes

_PILOT_PROBLEMS = 3


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take."""

    generations: int
    tokens: float
    seconds: float

    def told(self, price: float | None) -> str:
        """In a sentence, with money where a price per million tokens is known."""
        money = "" if price is None else f", {self.tokens * price / 1e6:.2f} at {price:g} a million"
        return (
            f"{self.generations} generations to go: about {self.tokens:,.0f} completion tokens"
            f"{money}, {_duration(self.seconds)}"
        )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def calibrate_main(argv: Sequence[str]) -> int:
    """Returns 1 where there is no router in the end; what was generated is kept."""
    parser = argparse.ArgumentParser("tops calibrate", description="Fit a router to your model.")
    parser.add_argument("--model", required=True, help="as the endpoint names it")
    parser.add_argument(
        "--problems", required=True, help=f"JSON Lines of problems, or {' or '.join(PUBLIC)}"
    )
    parser.add_argument("--limit", type=int, help="take only the first so many problems")
    parser.add_argument("--out", type=Path, default=Path("router.json"), help="the artifact")
    parser.add_argument("--outcomes", type=Path, help="default: OUT.outcomes.jsonl")
    parser.add_argument("--baseline", help="effort without a router (default: high)")
    parser.add_argument("--max-loss", type=float, default=0.01, help="accuracy loss allowed")
    parser.add_argument("--delta", type=float, default=0.1, help="1 - confidence")
    parser.add_argument("--price", type=float, help="of a million completion tokens")
    parser.add_argument("--yes", action="store_true", help="do not ask before it starts")
    add_run_arguments(parser)
    words = parser.parse_args(argv)
    request = request_of(words, parser)
    for name in ("max_loss", "delta"):
        if not 0 < getattr(words, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is a share between 0 and 1")
    if words.baseline not in (None, *words.efforts):
        parser.error(f"--baseline {words.baseline} is none of --efforts")
    outcomes = words.outcomes or words.out.with_suffix(".outcomes.jsonl")
    try:
        problems = read_problems(words.problems)[: words.limit]
        jobs = plan_jobs(problems, words.efforts, words.samples)
        if not _generate(jobs, problems, request, outcomes, words):
            return 1
        settings = FitSettings(words.baseline, words.max_loss, words.delta)
        read = read_outcomes([outcomes], words.model)
        of_these = tuple(one for one in read.outcomes if one.effort in words.efforts)
        fitted = fit(replace(read, outcomes=of_these), settings)
        save(fitted.artifact, words.out)
    except (GenerateError, ProblemError, OutcomeError, OSError) as error:
        print(f"tops calibrate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"stopped; {outcomes} keeps what is finished: run this again to go on", file=sys.stderr
        )
        return 130
    for warning in fitted.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{words.out}\n{summary(fitted.artifact, words.max_loss)}")
    return 0


def _generate(
    jobs: Sequence[Job],
    problems: Sequence[Problem],
    request: Request,
    outcomes: Path,
    words: argparse.Namespace,
) -> bool:
    """Make what is missing, after telling what it costs; False where nobody agreed to that."""
    done = finished(outcomes, request, problems)
    print(
        f"{sum(job.key in done for job in jobs)} of {len(jobs)} are there already", file=sys.stderr
    )
    first = {
        problem.problem_id for problem in problems[:: max(len(problems) // _PILOT_PROBLEMS, 1)]
    }
    pilot = [job for job in jobs if job.problem.problem_id in first and job.sample == 0]
    missing = [job for job in pilot if job.key not in done]
    begun = time.monotonic()
    refused = run(missing, request, outcomes, words.concurrency) if missing else []
    each = (time.monotonic() - begun) / len(missing) if missing else None
    done = finished(outcomes, request, problems)
    rest = [job for job in jobs if job.key not in done]
    if rest:
        print(_cost(rest, request, outcomes, each).told(words.price), file=sys.stderr)
        if not (words.yes or _agreed()):
            print(
                f"not started; {outcomes} keeps the first ones. Pass --yes to go on",
                file=sys.stderr,
            )
            return False
        refused += run(rest, request, outcomes, words.concurrency)
    report_refused(refused)
    return True


def _cost(rest: Sequence[Job], request: Request, outcomes: Path, each: float | None) -> Cost:
    """From the mean tokens per effort of what is there, and the pilot's pace where it ran."""
    spent: dict[str, list[int]] = {}
    with outcomes.open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if row["model"] == request.model:
                spent.setdefault(row["effort"], []).append(row["tokens"])
    means = {effort: sum(tokens) / len(tokens) for effort, tokens in spent.items()}
    overall = sum(means.values()) / max(len(means), 1)
    tokens = sum(means.get(job.effort, overall) for job in rest)
    return Cost(len(rest), tokens, each * len(rest) if each is not None else float("nan"))


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
