"""`tops load PLAN.toml`: run a plan against a server, and report."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.arrivals import due
from loadtest.comparison import read_baseline
from loadtest.page import page
from loadtest.plan import PlanError, read_plan
from loadtest.problems import read_conversations
from loadtest.report import Report
from loadtest.run import run
from loadtest.workload import plan_tasks


def load_main(argv: Sequence[str]) -> int:
    """Returns 1 where no request was answered, 2 where the plan cannot be run."""
    parser = argparse.ArgumentParser(prog="tops load", description="Run a load test.")
    parser.add_argument("plan", type=Path, help="a plan, e.g. loadtest/plans/efforts.toml")
    parser.add_argument("--url", help="the server, in place of the plan's")
    parser.add_argument("--json", type=Path, help="also write the report and all records here")
    parser.add_argument("--csv", type=Path, help="also write all records here, a row each")
    parser.add_argument("--html", type=Path, help="also write the report with plots here")
    parser.add_argument(
        "--baseline", type=Path, help="hold each arm against that of an earlier run's --json"
    )
    words = parser.parse_args(argv)
    for flag in ("json", "csv", "html"):
        file: Path | None = getattr(words, flag)
        if file and not file.parent.is_dir():
            parser.error(f"--{flag}: there is no folder {file.parent}")
    try:
        plan = read_plan(words.plan, words.url)
        before = read_baseline(words.baseline) if words.baseline else ()
        notes: list[str] = []
        tasks = plan_tasks(plan, read_conversations(plan.problems))
        times = None
        if plan.arrivals.kind != "closed":
            times = due(plan.arrivals, len(tasks), plan.seed, notes)
            tasks = tasks[: len(times)]
        records = asyncio.run(run(plan, tasks, times))
        report = Report.of(plan, records, before, notes)
    except PlanError as error:
        print(f"tops load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntops load: stopped", file=sys.stderr)
        return 130
    print(report.markdown())
    if words.json:
        words.json.write_text(json.dumps(report.as_json()) + "\n")
    if words.csv:
        words.csv.write_text(report.as_csv(), encoding="utf-8")
    if words.html:
        words.html.write_text(page(report), encoding="utf-8")
    if all(record.error for record in records):
        print(f"tops load: nothing at {plan.url} answered ({records[0].error})", file=sys.stderr)
        return 1
    return 0
