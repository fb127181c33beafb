"""`tops calibrate`: run a model over problems at every effort, judge, and fit its router.

A pilot of about ten generations, which are part of the run, estimates what the remaining ones cost.
Like `tops generate` it appends each finished generation at once, and a rerun continues.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.outcomes.client import GenerateError, GenerationTask, RequestSettings
from models.outcomes.generate import (
    add_run_arguments,
    generate_judged,
    plan_tasks,
    read_finished,
    report_refused,
    request_of,
)
from models.outcomes.problem_sets import PUBLIC, Problem, ProblemError, read_problems
from router.artifact import save
from router.commands import summary
from router.fitting.fit import FitSettings, fit
from router.fitting.outcomes import OutcomeError, read_outcomes

_PILOT_PROBLEMS = 3


@dataclass(frozen=True)
class Cost:
    """Estimated completion tokens and seconds of the generations that are missing."""

    generations: int
    tokens: float
    seconds: float

    def describe(self, price: float | None) -> str:
        """One sentence, with money where the price per million tokens is given."""
        money = (
            ""
            if price is None
            else f", {self.tokens * price / 1e6:.2f} at {price:g} per million tokens"
        )
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
        tasks = plan_tasks(problems, words.efforts, words.samples)
        if not _generate(tasks, problems, request, outcomes, words):
            return 1
        fit_settings = FitSettings(words.baseline, words.max_loss, words.delta)
        reading = read_outcomes([outcomes], words.model)
        selected = tuple(row for row in reading.outcomes if row.effort in words.efforts)
        fitted = fit(replace(reading, outcomes=selected), fit_settings)
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
    tasks: Sequence[GenerationTask],
    problems: Sequence[Problem],
    settings: RequestSettings,
    outcomes: Path,
    words: argparse.Namespace,
) -> bool:
    """Generate what is missing, after a pilot and its cost estimate; False without consent."""
    finished = read_finished(outcomes, settings, problems)
    print(
        f"{sum(task.key in finished for task in tasks)} of {len(tasks)} are there already",
        file=sys.stderr,
    )
    pilot_ids = {
        problem.problem_id for problem in problems[:: max(len(problems) // _PILOT_PROBLEMS, 1)]
    }
    pilot = [
        task
        for task in tasks
        if task.problem.problem_id in pilot_ids and task.sample == 0 and task.key not in finished
    ]
    start = time.monotonic()
    refusals = generate_judged(pilot, settings, outcomes, words.concurrency) if pilot else []
    seconds_each = (time.monotonic() - start) / len(pilot) if pilot else None
    finished = read_finished(outcomes, settings, problems)
    missing = [task for task in tasks if task.key not in finished]
    if missing:
        cost = _estimate_cost(missing, settings, outcomes, seconds_each)
        print(cost.describe(words.price), file=sys.stderr)
        if not (words.yes or _confirmed()):
            print(
                f"not started; {outcomes} keeps the pilot's generations. Pass --yes to go on",
                file=sys.stderr,
            )
            return False
        refusals += generate_judged(missing, settings, outcomes, words.concurrency)
    report_refused(refusals)
    return True


def _estimate_cost(
    missing: Sequence[GenerationTask],
    settings: RequestSettings,
    outcomes: Path,
    seconds_each: float | None,
) -> Cost:
    """From the mean tokens of each effort so far; seconds are NaN where no pilot ran."""
    tokens_by_effort: dict[str, list[int]] = {}
    with outcomes.open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if row["model"] == settings.model:
                tokens_by_effort.setdefault(row["effort"], []).append(row["tokens"])
    means = {effort: sum(tokens) / len(tokens) for effort, tokens in tokens_by_effort.items()}
    overall = sum(means.values()) / max(len(means), 1)
    tokens = sum(means.get(task.effort, overall) for task in missing)
    seconds = float("nan") if seconds_each is None else seconds_each * len(missing)
    return Cost(len(missing), tokens, seconds)


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        return False
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
