"""`tops calibrate`: run a model over problems at every effort, judge, and fit its router.

A pilot of about ten generations, which are part of the run, estimates what the remaining ones cost.
Like `tops generate` it appends each finished generation at once, and a rerun continues.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.outcomes.client import GenerationTask, RequestSettings
from models.outcomes.generate import generate_judged, plan_tasks, read_finished, report_refused
from models.outcomes.problem_sets import Problem
from router.fitting.fit import FitSettings, Fitted, fit
from router.fitting.outcomes import read_outcomes
from router.fitting.prompts import prompt_key
from router.fitting.table import check_size

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


@dataclass(frozen=True)
class Calibration:
    """A model to fit a router to, and the problems to run it on.

    `efforts` are run on every problem, `samples` times each; `concurrency` is the number of
    requests at the same time.
    """

    settings: RequestSettings
    problems: Sequence[Problem]
    efforts: Sequence[str]
    samples: int
    concurrency: int
    run_code: bool = False


def check_problems(calibration: Calibration) -> None:
    """Raises OutcomeError: there are fewer distinct prompts than a fit needs."""
    opening = calibration.settings.opening
    check_size(len({
        prompt_key([*opening(problem), {"role": "user", "content": problem.prompt}])
        for problem in calibration.problems
    }))  # fmt: skip


def generate_missing(
    calibration: Calibration, outcomes: Path, is_confirmed: Callable[[Cost], bool]
) -> bool:
    """Generate what `outcomes` does not have yet; False if the cost was not confirmed.

    A pilot comes first, without confirmation, in a resumed run too: the cost of the remaining
    generations is estimated from it.

    Raises:
        GenerateError: the endpoint is down or refuses too much; finished generations stay.
    """
    settings, problems = calibration.settings, calibration.problems
    tasks = plan_tasks(problems, calibration.efforts, calibration.samples)
    finished = read_finished(outcomes, settings, problems)
    print(
        f"{sum(task.key in finished for task in tasks)} of {len(tasks)} are there already",
        file=sys.stderr,
    )
    pilot_ids = {
        problem.problem_id for problem in problems[:: max(len(problems) // _PILOT_PROBLEMS, 1)]
    }
    missing = [task for task in tasks if task.key not in finished]
    first = [task for task in missing if task.problem.problem_id in pilot_ids and task.sample == 0]
    # a run that is resumed after its pilot has a small one again: only that tells the time
    pilot = first or missing[: _PILOT_PROBLEMS * len(calibration.efforts)]
    start, concurrency = time.monotonic(), calibration.concurrency
    run_code = calibration.run_code
    refusals = generate_judged(pilot, settings, outcomes, concurrency, run_code) if pilot else []
    seconds_each = (time.monotonic() - start) / max(len(pilot), 1)
    finished = read_finished(outcomes, settings, problems)
    missing = [task for task in tasks if task.key not in finished]
    if missing:
        if not is_confirmed(_estimate_cost(missing, settings, outcomes, seconds_each)):
            return False
        refusals += generate_judged(missing, settings, outcomes, concurrency, run_code)
    report_refused(refusals)
    return True


def fit_outcomes(calibration: Calibration, outcomes: Path, fit_settings: FitSettings) -> Fitted:
    """The router of the model's outcomes at the efforts of the calibration.

    Raises:
        OutcomeError: the outcomes are too few or cannot be read.
    """
    reading = read_outcomes([outcomes], calibration.settings.model)
    selected = tuple(row for row in reading.outcomes if row.effort in calibration.efforts)
    return fit(replace(reading, outcomes=selected), fit_settings)


def _estimate_cost(
    missing: Sequence[GenerationTask],
    settings: RequestSettings,
    outcomes: Path,
    seconds_each: float,
) -> Cost:
    """From the mean tokens of each effort so far, and the seconds of the pilot's generations."""
    tokens_by_effort: dict[str, list[int]] = {}
    with outcomes.open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if row["model"] == settings.model:
                tokens_by_effort.setdefault(row["effort"], []).append(row["tokens"])
    means = {effort: sum(tokens) / len(tokens) for effort, tokens in tokens_by_effort.items()}
    overall = sum(means.values()) / max(len(means), 1)
    tokens = sum(means.get(task.effort, overall) for task in missing)
    return Cost(len(missing), tokens, seconds_each * len(missing))
