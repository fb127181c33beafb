"""Keeps the sums per turn of a tool loop beside the summaries."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select

from server.ledger.sums import ANY_REQUEST, adding, slot
from server.ledger.tables import (
    LOOP_SUMS,
    MAX_LOOP_TURN,
    SLOT_SECONDS,
    loop_turns,
    requests,
)

_LOOP_KEYS = ("slot", "key", "model", "kind", "arm", "effort", "turn")
_LOOP_COLUMNS: tuple[str, ...] = (*_LOOP_KEYS, *LOOP_SUMS)
_ADD_LOOPS = adding(loop_turns, _LOOP_KEYS, LOOP_SUMS)


def add_loops(connection: Connection, first: int, last: int) -> None:
    """Add the requests with ids from `first` to `last`."""
    _change_loops(connection, 1, requests.c.id.between(first, last))


def subtract_loops(connection: Connection, upto: int, *conditions: ColumnElement[bool]) -> None:
    """Take requests up to the id `upto` out, which are there yet."""
    _change_loops(connection, -1, requests.c.id <= upto, *conditions)
    connection.execute(delete(loop_turns).where(loop_turns.c.requests < ANY_REQUEST))


def _change_loops(connection: Connection, sign: int, *conditions: ColumnElement[bool]) -> None:
    columns = requests.c
    turn = func.min if connection.dialect.name == "sqlite" else func.least
    keys: list[ColumnElement[Any]] = [
        slot(connection, SLOT_SECONDS[-1]),
        columns.key,
        columns.model,
        func.coalesce(columns.kind, ""),
        func.coalesce(columns.arm, ""),
        columns.effort,
        turn(columns.loop_turn, MAX_LOOP_TURN),
    ]
    sums = [func.count(), *(func.sum(columns[name]) for name in LOOP_SUMS[1:])]
    labels = [key.label(f"k{number}") for number, key in enumerate(keys)]
    query = (
        select(*labels, *(func.coalesce(total, 0) for total in sums))
        .where(
            columns.loop_turn.is_not(None),
            columns.status == 200,
            columns.thinking_tokens.is_not(None),
            *conditions,
        )
        .group_by(*labels)
    )
    rows = connection.execute(query).all()
    if rows:
        width = len(_LOOP_KEYS)
        signed = [(*row[:width], *(sign * float(total) for total in row[width:])) for row in rows]
        values = [dict(zip(_LOOP_COLUMNS, row, strict=True)) for row in signed]
        connection.execute(_ADD_LOOPS, values)
