"""What is in a ledger, and how much room it takes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, select, text

from server.ledger.reader import snapshot
from server.ledger.selection import Selection
from server.ledger.summaries import summarized_upto
from server.ledger.tables import requests
from server.ledger.totals import read_totals


def info(engine: Engine) -> dict[str, Any]:
    """The ledger as one JSON object: counts, times, and bytes.

    Raises:
        LedgerDown: it cannot be read now.
    """
    with snapshot(engine) as connection:
        totals = read_totals(connection, Selection(), None, ("arm", "status", "compared"))
        columns = totals.columns
        number = round(float(columns["requests"].sum()))
        at = requests.c.at
        oldest = connection.execute(select(func.min(at))).scalar()
        newest = connection.execute(select(func.max(at))).scalar()
        highest = connection.execute(select(func.max(requests.c.id))).scalar() or 0
        size = _bytes(engine, connection)
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        held_out = columns["requests"][columns["arm"] == "holdout"].sum()
        return {
            "ledger": engine.url.render_as_string(hide_password=True),
            "schema": version,
            "requests": number,
            "oldest": _date(oldest),
            "newest": _date(newest),
            "held_out": round(float(held_out)),
            "scored": round(float(columns["scored"].sum())),
            "not_in_sums": max(highest - summarized_upto(connection), 0),
            "bytes": size,
            "bytes_per_request": round(size / number) if number else None,
        }


def _bytes(engine: Engine, connection: Connection) -> int:
    if engine.dialect.name == "sqlite":
        file = Path(str(engine.url.database))
        log = file.with_name(file.name + "-wal")
        return file.stat().st_size + (log.stat().st_size if log.exists() else 0)
    tables = ("requests", "summaries", "loop_turns")
    sizes = "SELECT " + " + ".join(f"pg_total_relation_size('{name}')" for name in tables)
    return int(connection.execute(text(sizes)).scalar_one())


def _date(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
