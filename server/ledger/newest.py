"""The newest requests, row by row: never more than a few thousand, however long the ledger is."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from server.ledger.selection import Selection
from server.ledger.tables import requests

MOST_ROWS = 2_000
_SEEN_ROWS = 20_000
"""Among which those of a selection are looked for."""


def newest(
    connection: Connection, columns: Sequence[str], selection: Selection
) -> Sequence[Row[Any]]:
    """These columns of the newest MOST_ROWS of a selection at most, newest first.

    Only the newest _SEEN_ROWS of the ledger are looked at.
    """
    last = select(func.coalesce(func.max(requests.c.id), 0)).scalar_subquery()
    where = [requests.c.id > last - _SEEN_ROWS, *selection.where()]
    query = select(*(requests.c[name] for name in columns)).where(*where)
    return connection.execute(query.order_by(requests.c.id.desc()).limit(MOST_ROWS)).all()


def newest_time(connection: Connection, key: str | None) -> float | None:
    """When the newest request came, in Unix seconds; None without any."""
    where = [] if key is None else [requests.c.key == key]
    query = select(requests.c.at).where(*where).order_by(requests.c.id.desc()).limit(1)
    return connection.execute(query).scalar()
