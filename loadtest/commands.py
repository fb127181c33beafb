"""The command `tops load`: runs a plan against a server and reports. Parses, calls, prints."""

import json
from pathlib import Path
from typing import NoReturn

import click

from router.options import NEW_FILE

STOPPED = 130
"""Exit status of a command that SIGINT or SIGTERM ended, as shells report SIGINT."""


class UnusablePlan(click.ClickException):
    """A plan that cannot be run, or a report that cannot be written."""

    exit_code = 2


_FILE = click.Path(path_type=Path)


def _absent(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:  # noqa: ARG001
    if file and file.exists():
        raise click.BadParameter(f"{file} exists already; name a new file")
    return file


@click.command("load")
@click.argument("plan", type=_FILE)
@click.option("--url", metavar="URL", help="Server; default: that of the plan.")
@click.option(
    "--json", "json_file", type=NEW_FILE, metavar="FILE",
    help="Also write the report and all records.",
)  # fmt: skip
@click.option(
    "--csv", "csv_file", type=NEW_FILE, metavar="FILE",
    help="Also write all records, one row each.",
)  # fmt: skip
@click.option(
    "--html", "html_file", type=NEW_FILE, metavar="FILE",
    help="Also write the report with plots.",
)  # fmt: skip
@click.option(
    "--records", type=NEW_FILE, metavar="FILE", callback=_absent,
    help="Also write each record when it is complete, one line each.",
)  # fmt: skip
@click.option(
    "--baseline", type=_FILE, metavar="FILE",
    help="Compare each arm with that of an earlier run, from its --json or --records file.",
)  # fmt: skip
@click.option(
    "--again", type=_FILE, metavar="FILE",
    help="Send nothing: report on an earlier run, from its --json or --records file.",
)  # fmt: skip
def load_command(
    plan: Path,
    url: str | None,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    records: Path | None,
    baseline: Path | None,
    again: Path | None,
) -> None:
    """Run the load test that PLAN describes, such as loadtest/plans/smoke.toml.

    Exit status: 0; 1 if the server answered no request; 2 if the plan cannot be run or a report
    cannot be written; 130 if stopped.
    """
    from loadtest.execution import execute
    from loadtest.html_report import html_report
    from loadtest.plan import PlanError, read_plan
    from loadtest.preflight import TargetDownError
    from loadtest.progress import Progress
    from loadtest.record_file import read_records, read_run
    from loadtest.report import Report

    notes: list[str] = []
    try:
        parsed = read_plan(plan, url)
        earlier = read_records(baseline) if baseline else ()
        if again:
            progress = Progress(0)
            progress.records, notes = read_run(again)
        else:
            progress = execute(parsed, records, notes)
        report = Report.of(parsed, progress.records, earlier, notes)
    except PlanError as error:
        raise UnusablePlan(str(error)) from error
    except TargetDownError as error:
        raise click.ClickException(f"{error}: is the server running? (make serve)") from error
    except KeyboardInterrupt:
        _stop("stopped")
    if not report.records:
        _stop("stopped before any request was answered")
    click.echo(report.markdown())
    try:
        if json_file:
            json_file.write_text(json.dumps(report.as_json()) + "\n", encoding="utf-8")
        if csv_file:
            csv_file.write_text(report.as_csv(), encoding="utf-8")
        if html_file:
            html_file.write_text(html_report(report), encoding="utf-8")
    except OSError as error:
        raise UnusablePlan(f"{error.filename or 'a report'}: {error.strerror}") from error
    if progress.stopped:
        raise click.exceptions.Exit(STOPPED)
    errors = [record.error for record in report.records if record.error]
    if errors and not again and all(record.ended != "answer" for record in report.records):
        raise click.ClickException(f"no request to {parsed.url} was answered ({errors[0]})")


def _stop(message: str) -> NoReturn:
    click.echo(message, err=True)
    raise click.exceptions.Exit(STOPPED)
