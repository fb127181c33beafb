"""Reads answered requests of every arm in batches of columns, for off-policy evaluation.

A batch is one row of the database: each column of it is an array in JSON, which one call decodes.
That takes a third of the time of a row per request, and a bounded memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Connection, Text, cast, func, or_, select, type_coerce

from server.ledger.reader import id_range
from server.ledger.selection import Selection
from server.ledger.tables import requests

_BATCH_IDS = 25_000
_NAMES = ("conversation", "effort", "routed", "baseline", "abstained")
_NUMBERS = ("p_treated", "p_holdout", "p_explore", "choices", "thinking_tokens")
_OBJECTS = ("p_correct", "expected_tokens")

Batch = Mapping[str, Sequence[Any]]
"""A list per column, all of the same length."""


def decided(connection: Connection, selection: Selection) -> Iterator[Batch]:
    """Answered requests whose effort no earlier turn pinned, oldest first.

    Another policy would have pinned another effort.
    """
    columns = requests.c
    where = (
        columns.arm.is_not(None),
        columns.status == 200,
        columns.thinking_tokens.is_not(None),
        columns.expected_tokens.is_not(None),
        columns.source != "pinned",  # rows of older versions
        or_(columns.pinned.is_(None), columns.pinned.is_(False)),
        *selection.where(),
    )
    names = (*_NAMES, *_NUMBERS, *_OBJECTS)
    query = select(*(_array(connection, columns[name]) for name in names)).where(*where)
    first, last = id_range(connection, selection)
    for begin in range(first, last + 1, _BATCH_IDS):
        ids = columns.id.between(begin, min(begin + _BATCH_IDS - 1, last))
        row = connection.execute(query.where(ids)).one()
        batch = {name: orjson.loads(text or "[]") for name, text in zip(names, row, strict=True)}
        if batch["conversation"]:
            yield batch


def _array(connection: Connection, column: Column[Any]) -> ColumnElement[str]:
    """The column's values as one array in JSON."""
    if connection.dialect.name == "postgresql":
        return cast(func.json_agg(column), Text)
    if column.name in _OBJECTS:
        values = func.coalesce(type_coerce(column, Text), "null")
        return type_coerce("[" + func.group_concat(values) + "]", Text)
    return type_coerce(func.json_group_array(column), Text)
