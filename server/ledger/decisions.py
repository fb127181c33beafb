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
_SHARES = ("p_treated", "p_holdout", "p_explore")
"""The same for all requests of a batch, unless the settings changed."""

_NUMBERS = ("choices", "thinking_tokens")
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
    lowest, highest = id_range(connection, selection)
    for begin in range(lowest, highest + 1, _BATCH_IDS):
        ids = columns.id.between(begin, min(begin + _BATCH_IDS - 1, highest))
        batch = _batch(connection, (*where, ids))
        if batch["conversation"]:
            yield batch


def _batch(connection: Connection, where: Sequence[ColumnElement[bool]]) -> Batch:
    """One statement each: requests may come or go between two."""
    columns = requests.c
    shares = [columns[name] for name in _SHARES]
    names = (*_NAMES, *_NUMBERS, *_OBJECTS)
    arrays = [_array(connection, columns[name]) for name in names]
    counts = [func.count(), *map(func.count, shares)]
    limits = [*map(func.min, shares), *map(func.max, shares)]
    row = connection.execute(select(*counts, *limits, *arrays).where(*where)).one()
    number, width = row[0], len(counts) + len(limits)
    lows, highs = row[len(counts) : width - len(shares)], row[width - len(shares) : width]
    if lows == highs and {*row[1 : len(counts)]} == {number}:
        same = {name: [low] * number for name, low in zip(_SHARES, lows, strict=True)}
        return _decoded(names, row[width:]) | same
    arrays += [_array(connection, column) for column in shares]
    return _decoded((*names, *_SHARES), connection.execute(select(*arrays).where(*where)).one())


def _decoded(names: Sequence[str], texts: Sequence[str]) -> dict[str, list[Any]]:
    return {name: orjson.loads(text or "[]") for name, text in zip(names, texts, strict=True)}


def _array(connection: Connection, column: Column[Any]) -> ColumnElement[str]:
    """The column's values as one array in JSON."""
    if connection.dialect.name == "postgresql":
        return cast(func.json_agg(column), Text)
    if column.name in _OBJECTS:
        values = func.coalesce(type_coerce(column, Text), "null")
        return type_coerce("[" + func.group_concat(values) + "]", Text)
    return type_coerce(func.json_group_array(column), Text)
