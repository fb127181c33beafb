"""`tops load PLAN.toml`: run a plan against a server, and report."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.execution import execute
from loadtest.html_report import html_report
from loadtest.plan import PlanError, read_plan
from loadtest.preflight import TargetDownError
from loadtest.progress import Progress
from loadtest.record_file import read_records, read_run
from loadtest.report import Report
from loadtest.run import STOPPED


def load_main(argv: Sequence[str]) -> int:
    """Returns 1 where no request was answered, 130 if stopped, 2 where something cannot be done.

    That is a plan that cannot be run, or a report that cannot be written.
    """
    parser = _parser()
    words = parser.parse_args(argv)
    for flag in ("json", "csv", "html", "records"):
        file: Path | None = getattr(words, flag)
        if file and not file.parent.is_dir():
            parser.error(f"--{flag}: there is no folder {file.parent}")
    if words.records and words.records.exists():
        parser.error(f"--records: {words.records} is there already; name a new file")
    notes: list[str] = []
    try:
        plan = read_plan(words.plan, words.url)
        before = read_records(words.baseline) if words.baseline else ()
        if words.again:
            progress = Progress(0)
            progress.records, notes = read_run(words.again)
        else:
            progress = execute(plan, words.records, notes)
        report = Report.of(plan, progress.records, before, notes)
    except PlanError as error:
        print(f"tops load: {error}", file=sys.stderr)
        return 2
    except TargetDownError as error:
        print(f"tops load: {error}: is the server running? (make serve)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntops load: stopped", file=sys.stderr)
        return STOPPED
    return _told(report, progress.stopped, words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops load", description="Run a load test.")
    parser.add_argument("plan", type=Path, help="a plan, e.g. loadtest/plans/smoke.toml")
    parser.add_argument("--url", help="the server, in place of the plan's")
    parser.add_argument("--json", type=Path, help="also write the report and all records here")
    parser.add_argument("--csv", type=Path, help="also write all records here, a row each")
    parser.add_argument("--html", type=Path, help="also write the report with plots here")
    parser.add_argument(
        "--records", type=Path, help="also write each record here as it is made, a line each"
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        help="hold each arm against that of an earlier run, by its --json or --records",
    )
    parser.add_argument(
        "--again",
        type=Path,
        help="send nothing: report on an earlier run, by its --json or --records",
    )
    return parser


def _told(report: Report, stopped: bool, words: argparse.Namespace) -> int:
    """Write the report where it is wanted; returns the command's exit status."""
    if not report.records:
        print("tops load: stopped before anything was answered", file=sys.stderr)
        return STOPPED
    print(report.markdown())
    try:
        if words.json:
            words.json.write_text(json.dumps(report.as_json()) + "\n", encoding="utf-8")
        if words.csv:
            words.csv.write_text(report.as_csv(), encoding="utf-8")
        if words.html:
            words.html.write_text(html_report(report), encoding="utf-8")
    except OSError as error:
        print(f"tops load: {error.filename or 'a report'}: {error.strerror}", file=sys.stderr)
        return 2
    if stopped:
        return STOPPED
    errors = [record.error for record in report.records if record.error]
    if errors and all(record.ended != "answer" for record in report.records):
        print(f"tops load: nothing at {report.plan.url} answered ({errors[0]})", file=sys.stderr)
        return 1
    return 0
