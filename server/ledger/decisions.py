"""Reads answered requests of every arm in batches of columns, for off-policy evaluation.

A batch is one row of the database: each column of it is an array in JSON, which one call decodes.
That takes a third of the time of a row per request, and a bounded memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
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
_TEXTS = ("conversation", *_OBJECTS)

Batch = Mapping[str, Any]
"""A sequence per column, all of the same length. But of the objects the text of an array in JSON,
and of the conversations their ids with commas between them."""


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
    parts = (
        columns.id.between(begin, min(begin + _BATCH_IDS - 1, highest))
        for begin in range(lowest, highest + 1, _BATCH_IDS)
    )
    for texts, same in _read_ahead(_read(connection, (*where, ids)) for ids in parts):
        if not texts:
            continue
        batch = {
            name: text if name in _TEXTS else orjson.loads(text) for name, text in texts.items()
        }
        number = len(batch["effort"])
        yield batch | {name: np.full(number, share) for name, share in same.items()}


_T = TypeVar("_T")


def _read_ahead(parts: Iterator[_T]) -> Iterator[_T]:
    """Each next part is read while the one before is in use: the database needs no interpreter."""
    with ThreadPoolExecutor(1) as thread:
        part = thread.submit(next, parts, None)
        while (current := part.result()) is not None:
            part = thread.submit(next, parts, None)
            yield current


def _read(
    connection: Connection, where: Sequence[ColumnElement[bool]]
) -> tuple[Mapping[str, str], Mapping[str, float]]:
    """A text per column, and the shares where all requests have the same; nothing without requests.

    One statement each: requests may come or go between two.
    """
    columns = requests.c
    shares = [columns[name] for name in _SHARES]
    names = (*_NAMES, *_NUMBERS, *_OBJECTS)
    arrays = [_array(connection, columns[name]) for name in names]
    counts = [func.count(), func.count(sum(shares[1:], shares[0]))]  # of rows without a null
    limits = [*map(func.min, shares), *map(func.max, shares)]
    row = connection.execute(select(*counts, *limits, *arrays).where(*where)).one()
    (number, complete), width = row[: len(counts)], len(counts) + len(limits)
    if not number:
        return {}, {}
    lows, highs = row[len(counts) : width - len(shares)], row[width - len(shares) : width]
    if lows == highs and complete == number:
        texts = dict[str, str](zip(names, row[width:], strict=True))
        return texts, dict(zip(_SHARES, lows, strict=True))
    arrays += [_array(connection, column) for column in shares]
    row = connection.execute(select(*arrays).where(*where)).one()
    return dict(zip((*names, *_SHARES), row, strict=True)), {}


def _array(connection: Connection, column: Column[Any]) -> ColumnElement[str]:
    """The column's values as one text: an array in JSON, or ids with commas."""
    if column.name == "conversation":
        return func.aggregate_strings(func.coalesce(column, ""), ",")
    if connection.dialect.name == "postgresql":
        return cast(func.json_agg(column), Text)
    if column.name in _OBJECTS:
        values = func.coalesce(type_coerce(column, Text), "null")
        return type_coerce("[" + func.group_concat(values) + "]", Text)
    return type_coerce(func.json_group_array(column), Text)
