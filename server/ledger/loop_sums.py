"""Keeps the sums per turn of a tool loop beside the summaries."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, text

from server.ledger.sums import slot
from server.ledger.tables import (
    LOOP_SUMS,
    MAX_LOOP_TURN,
    SLOT_SECONDS,
    loop_turns,
    requests,
)

_ANY = 0.5
_LOOP_KEYS = ("slot", "key", "model", "kind", "arm", "effort", "turn")


def add_loops(connection: Connection, first: int, last: int) -> None:
    """Add the requests with ids from `first` to `last`."""
    _change_loops(connection, 1, requests.c.id.between(first, last))


def subtract_loops(connection: Connection, upto: int, *conditions: ColumnElement[bool]) -> None:
    """Take requests up to the id `upto` out, which are there yet."""
    _change_loops(connection, -1, requests.c.id <= upto, *conditions)
    connection.execute(delete(loop_turns).where(loop_turns.c.requests < _ANY))


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
    names = [key.label(f"k{number}") for number, key in enumerate(keys)]
    query = (
        select(*names, *(func.coalesce(total, 0) for total in sums))
        .where(
            columns.loop_turn.is_not(None),
            columns.status == 200,
            columns.thinking_tokens.is_not(None),
            *conditions,
        )
        .group_by(*names)
    )
    rows = connection.execute(query).all()
    if rows:
        values = [
            dict(zip(_LOOP_KEYS, row, strict=False))
            | {
                name: sign * float(number)
                for name, number in zip(LOOP_SUMS, row[len(_LOOP_KEYS) :], strict=True)
            }
            for row in rows
        ]
        connection.execute(_ADD_LOOPS, values)


_LOOP_COLUMNS = (*_LOOP_KEYS, *LOOP_SUMS)
_ADD_LOOPS = text(
    f"INSERT INTO loop_turns ({', '.join(_LOOP_COLUMNS)}) "  # noqa: S608 - of names in the code
    f"VALUES ({', '.join(f':{name}' for name in _LOOP_COLUMNS)}) "
    f"ON CONFLICT ({', '.join(_LOOP_KEYS)}) DO UPDATE SET "
    + ", ".join(f"{name} = loop_turns.{name} + excluded.{name}" for name in LOOP_SUMS)
)
