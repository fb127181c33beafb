"""The newest requests, row by row: never more than a few thousand, however long the ledger is."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from server.ledger.tables import requests

_SEEN_ROWS = 20_000
"""Among which those of one API key are looked for."""


def newest(
    connection: Connection, columns: Sequence[str], number: int, since: float, key: str | None
) -> Sequence[Row[Any]]:
    """These columns of at most `number` requests since a time in Unix seconds, newest first.

    Those of a key are the ones among the newest _SEEN_ROWS of all keys.
    """
    last = select(func.coalesce(func.max(requests.c.id), 0)).scalar_subquery()
    where = [requests.c.id > last - _SEEN_ROWS, requests.c.at >= since]
    if key is not None:
        where.append(requests.c.key == key)
    query = select(*(requests.c[name] for name in columns)).where(*where)
    return connection.execute(query.order_by(requests.c.id.desc()).limit(number)).all()


def newest_time(connection: Connection, key: str | None) -> float | None:
    """When the newest request came, in Unix seconds; None without any."""
    where = [] if key is None else [requests.c.key == key]
    query = select(requests.c.at).where(*where).order_by(requests.c.id.desc()).limit(1)
    return connection.execute(query).scalar()
