"""Executes a plan: reads its conversations, checks its servers, and runs its tasks."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from loadtest.arrivals import schedule
from loadtest.conversations import read_conversations
from loadtest.plan import Plan
from loadtest.preflight import preflight
from loadtest.progress import Progress
from loadtest.record_file import RecordWriter
from loadtest.scorer import check_scorer
from loadtest.sweep import run_sweep
from loadtest.task_runner import run
from loadtest.workload import Task, plan_tasks


def execute(plan: Plan, record_file: Path | None, notes: list[str]) -> Progress:
    """Run a plan; `notes` receives a sentence for everything that is omitted.

    Args:
        plan: the run's.
        record_file: a new file that receives each record as a line of JSON; None keeps the
            records in memory only.
        notes: is appended to.

    Raises:
        PlanError: the plan cannot be run.
        TargetDownError: nothing listens at a URL of the plan.
    """
    tasks = plan_tasks(plan, read_conversations(plan.problems, notes))
    scheduled = None
    if plan.arrivals.kind not in ("closed", "sweep"):
        scheduled = schedule(plan.arrivals, len(tasks), plan.seed, notes)
        tasks = tasks[: len(scheduled)]
    asyncio.run(preflight(plan))
    asyncio.run(check_scorer([turn for task in tasks for turn in task.conversation]))
    if record_file is None:
        progress = Progress(len(tasks))
        asyncio.run(_run(plan, tasks, scheduled, progress))
    else:
        with record_file.open("xb", buffering=0) as lines:
            writer = RecordWriter(lines)
            progress = Progress(len(tasks), writer)
            asyncio.run(_run(plan, tasks, scheduled, progress))
        if writer.failure:
            notes.append(f"{record_file} does not have all records: {writer.failure}")
    notes.append(progress.generator.note([record.start_delay for record in progress.records]))
    if progress.stopped:
        cancelled = progress.started - progress.finished
        notes.append(
            f"stopped: {progress.finished} of {progress.total} conversations finished, {cancelled} "
            "in progress were cancelled"
        )
    return progress


async def _run(
    plan: Plan, tasks: Sequence[Task], scheduled: Sequence[float] | None, progress: Progress
) -> None:
    if plan.arrivals.kind == "sweep":
        await run_sweep(plan, tasks, progress)
    else:
        await run(plan, tasks, scheduled, progress)
