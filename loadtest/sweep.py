"""A sweep to saturation: stages of rising rates, until too few requests keep the plan's SLO."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from math import inf, sqrt

from loadtest.arrivals import schedule
from loadtest.plan import Arrivals, Plan
from loadtest.progress import Progress
from loadtest.sweep_stages import read_stages
from loadtest.task_runner import run
from loadtest.workload import Task

_BISECTIONS = 2


async def run_sweep(plan: Plan, tasks: Sequence[Task], progress: Progress) -> None:
    """Double the rate until the server is saturated, then bisect; each stage ends by itself.

    Args:
        plan: its arrivals are a sweep.
        tasks: are sent again and again, as many as a stage needs.
        progress: receives the records, with their `offered_rate`.
    """
    rate, final_rate = plan.arrivals.rate or 1.0, plan.arrivals.final_rate or inf
    kept, saturated, bisections = 0.0, inf, 0
    while rate <= final_rate and bisections <= _BISECTIONS:
        stage_tasks = islice(cycle(tasks), max(round(rate * plan.arrivals.stage_seconds), 1))
        planned = [replace(task, offered_rate=rate) for task in stage_tasks]
        arrivals = Arrivals(kind="poisson", rate=rate)
        first, progress.total = len(progress.records), progress.started + len(planned)
        await run(plan, planned, schedule(arrivals, len(planned), plan.seed, []), progress)
        if progress.stopped:
            return
        if any(stage.is_saturated for stage in read_stages(plan, progress.records[first:])):
            saturated = rate
        else:
            kept = rate
        if saturated < inf:
            bisections += 1
        if not kept:
            return
        rate = 2 * rate if saturated == inf else sqrt(kept * saturated)
