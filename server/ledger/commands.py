"""The commands of `tops ledger`: `info`, `export`, `migrate`, `prune`. Parses, calls, prints."""

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy import Engine

from router.options import NEW_FILE
from server.config.load_settings import SettingsError, load_settings
from server.ledger.export import ParquetMissing, export
from server.ledger.info import info
from server.ledger.prune import count_before, prune_chunk
from server.ledger.reader import id_range, reading
from server.ledger.schema import LedgerDown, LedgerError, connect, prepare, require_file, using
from server.ledger.selection import Selection, parse_moment

_LEDGER = click.option("--ledger", metavar="URL", help="Database URL; default: that of tops serve.")


@click.group("ledger")
def ledger_command() -> None:
    """Look at the ledger, export its requests, or delete the oldest ones.

    All of it is safe while gateways write.

    \b
    tops ledger info
    tops ledger export requests.parquet --since 30d
    tops ledger prune --before 90d
    """


@ledger_command.command("info")
@_LEDGER
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def info_command(ledger: str | None, as_json: bool) -> None:
    """Print what the ledger has and how much room it takes."""
    with _opened(ledger) as engine:
        summary = info(engine)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for name, value in summary.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        click.echo(f"{name.replace('_', ' '):<18} {'none' if shown is None else shown}")


@ledger_command.command("export")
@click.argument("file", type=NEW_FILE, metavar="FILE.parquet")
@_LEDGER
@click.option("--since", metavar="TIME", help="7d, 12h, 30m, or a date such as 2026-11-01.")
@click.option("--model", metavar="NAME", help="Only requests of this model.")
@click.option("--key", metavar="NAME", help="Only requests of the API key with this name.")
@click.option("--kind", metavar="NAME", help="Only requests of this kind of traffic.")
def export_command(
    file: Path,
    ledger: str | None,
    since: str | None,
    model: str | None,
    key: str | None,
    kind: str | None,
) -> None:
    """Write the requests to a Parquet file, one row each.

    It needs the extra `parquet`.

    \b
    tops ledger export requests.parquet --since 30d
    """
    if file.suffix != ".parquet":
        raise click.BadParameter(
            f"the file is Parquet: name it {file.with_suffix('.parquet')}", param_hint="FILE"
        )
    selection = Selection(_moment(since, "--since"), model, key, kind)
    with _opened(ledger) as engine:
        with reading(engine) as connection:
            lowest, highest = id_range(connection, selection)
        try:
            with _progress("exporting", highest - lowest + 1) as advance:
                rows = export(engine, selection, file, advance)
        except ParquetMissing as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"{rows:,} requests in {file} ({file.stat().st_size:,} bytes)")


@ledger_command.command("migrate")
@click.option("--ledger", metavar="URL", help="Database URL; default: that of tops serve.")
def migrate_command(ledger: str | None) -> None:
    """Bring the ledger's tables to this release, or make them.

    A gateway does this at its start. Before gateways whose database user may not alter tables,
    do it as one that may.
    """
    try:
        engine = connect(ledger or load_settings().ledger)
        try:
            prepare(engine)
        finally:
            engine.dispose()
    except (LedgerError, LedgerDown, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("the ledger is up to date")


@ledger_command.command("prune")
@_LEDGER
@click.option(
    "--before", metavar="TIME", required=True, help="Requests older than 90d, or than a date."
)
@click.option("--yes", is_flag=True, help="Delete without asking.")
def prune_command(ledger: str | None, before: str, yes: bool) -> None:
    """Delete the requests before a time, some thousands at a time.

    A gateway with --ledger-retention-days does this by itself. If it is stopped, what is deleted
    stays deleted, and the next call goes on.

    \b
    tops ledger prune --before 90d
    """
    moment = _moment(before, "--before")
    assert moment is not None
    with _opened(ledger) as engine, using(engine):
        rows = count_before(engine, moment)
        if rows and not yes:
            click.confirm(f"Delete {rows:,} requests?", abort=True)
        deleted = 0
        with _progress("deleting", rows) as advance:
            while deleted < rows:
                chunk = prune_chunk(engine, moment)
                if not chunk:
                    break
                advance(chunk)
                deleted += chunk
    click.echo(f"{deleted:,} requests deleted")


def _moment(text: str | None, option: str) -> float | None:
    try:
        return parse_moment(text, option)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def _opened(url: str | None) -> Generator[Engine]:
    try:
        engine = connect(url or load_settings().ledger)
        require_file(engine)
        try:
            prepare(engine)
            yield engine
        finally:
            engine.dispose()
    except (LedgerError, LedgerDown, SettingsError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _progress(label: str, length: int) -> Generator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal."""
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update
