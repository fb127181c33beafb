"""Break an engine, a disk and a gateway under load, and check: `python -m loadtest.chaos`."""

import asyncio
import sys
from pathlib import Path

import click

from loadtest.chaos.run import Scale, StoppedError, chaos
from loadtest.chaos.verdict import verdict, verdict_table
from loadtest.commands import STOPPED, UnusablePlan
from loadtest.plan import PlanError, read_plan

_PLAN = Path(__file__).resolve().parent.parent / "plans" / "chaos.toml"


@click.command(help=__doc__)
@click.option(
    "--plan", type=click.Path(path_type=Path), default=_PLAN, metavar="FILE",
    help="Load plan; default: loadtest/plans/chaos.toml.",
)  # fmt: skip
@click.option(
    "--seconds", type=float, default=Scale.seconds, show_default=True, metavar="SECONDS",
    help="Duration of the load with faults.",
)  # fmt: skip
@click.option(
    "--stall", type=float, default=Scale.stall_seconds, show_default=True, metavar="SECONDS",
    help="Time for which the engine stalls.",
)  # fmt: skip
@click.pass_context
def main(ctx: click.Context, plan: Path, seconds: float, stall: float) -> None:
    """Exits with 1 if a check fails, 2 if the run cannot be made, 130 if stopped."""
    if sys.platform != "linux":
        raise click.UsageError("this needs Linux: it limits the file size of another process")
    try:
        evidence = asyncio.run(chaos(read_plan(plan), Scale(seconds, stall)))
    except PlanError as error:
        raise UnusablePlan(str(error)) from error
    except (StoppedError, KeyboardInterrupt):
        click.echo("stopped", err=True)
        ctx.exit(STOPPED)
    checks = verdict(evidence)
    click.echo(verdict_table(evidence, checks))
    ctx.exit(0 if all(check.holds for check in checks) else 1)


if __name__ == "__main__":
    main(prog_name="python -m loadtest.chaos")
