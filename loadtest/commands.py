"""`tops load PLAN.toml`: run a plan against a server, and report."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.page import page
from loadtest.plan import PlanError, read_plan
from loadtest.report import as_csv, as_json, render
from loadtest.run import run
from loadtest.workload import plan_tasks, read_problems


def load_main(argv: Sequence[str]) -> int:
    """Returns 1 where no request was answered, 2 where the plan cannot be run."""
    parser = argparse.ArgumentParser(prog="tops load", description="Run a load test.")
    parser.add_argument("plan", type=Path, help="a plan, e.g. loadtest/plans/efforts.toml")
    parser.add_argument("--url", help="the server, in place of the plan's")
    parser.add_argument("--json", type=Path, help="also write the report and all records here")
    parser.add_argument("--csv", type=Path, help="also write all records here, a row each")
    parser.add_argument("--html", type=Path, help="also write the report with plots here")
    words = parser.parse_args(argv)
    for flag in ("json", "csv", "html"):
        file: Path | None = getattr(words, flag)
        if file and not file.parent.is_dir():
            parser.error(f"--{flag}: there is no folder {file.parent}")
    try:
        plan = read_plan(words.plan, words.url)
        tasks = plan_tasks(plan, read_problems(plan))
        records = asyncio.run(run(plan, tasks))
    except PlanError as error:
        print(f"tops load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntops load: stopped", file=sys.stderr)
        return 130
    print(render(plan, records))
    if words.json:
        words.json.write_text(json.dumps(as_json(plan, records)) + "\n")
    if words.csv:
        words.csv.write_text(as_csv(records), encoding="utf-8")
    if words.html:
        words.html.write_text(page(plan, records), encoding="utf-8")
    if all(record.error for record in records):
        print(f"tops load: nothing at {plan.url} answered ({records[0].error})", file=sys.stderr)
        return 1
    return 0
