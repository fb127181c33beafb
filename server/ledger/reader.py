"""Reads the ledger: rows for the savings report, for off-policy evaluation and the dashboard."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, Executable, Select, func, select
from sqlalchemy.exc import DBAPIError

from server.ledger.schema import LedgerDown
from server.ledger.selection import Selection
from server.ledger.tables import requests

__all__ = ["Selection"]


Row = Mapping[str, Any]
Columns = Mapping[str, NDArray[Any]]


NAMES = ("arm", "conversation", "model", "key", "kind", "routed")
NUMBERS = (
    "at", "p_treated", "p_holdout", "prompt_tokens", "cached_tokens", "cache_write_tokens",
    "thinking_tokens", "answer_tokens", "unsplit_tokens", "seconds",
    "baseline_tokens", "baseline_p_correct", "score",
)  # fmt: skip


def held_out(connection: Connection, selection: Selection, one_in: int = 1) -> Columns:
    """Answered requests that were held out, oldest first; `one_in` so many of them."""
    columns = requests.c
    where = [columns.arm == "holdout", *_compared(selection)]
    if one_in > 1:
        where.append(columns.id % one_in == 0)
    return _columns(connection, _compared_columns().where(*where).order_by(columns.at))


def treated_examples(
    connection: Connection, selection: Selection, rows: int, blocks: int = 40
) -> Columns:
    """About so many answered requests that were treated, or all if there are fewer.

    They are taken in blocks of consecutive requests, spread over the time: of most conversations
    that are in it, a block has every request.
    """
    columns = requests.c
    query = _compared_columns().where(columns.arm == "treated", *_compared(selection))
    low, high = id_range(connection, Selection())
    if high - low < rows:
        return _columns(connection, query)
    # without `since`: SQLite may take the lower of two bounds
    query = _compared_columns().where(
        columns.arm == "treated", *_compared(replace(selection, since=None))
    )
    at = columns.at
    oldest = selection.since or connection.execute(select(func.min(at))).scalar_one()
    newest = connection.execute(select(func.max(at))).scalar_one()
    step = max(newest - oldest, 0.0) / blocks
    parts = [
        query.where(at >= oldest + step * number, at <= oldest + step * (number + 1))
        for number in range(blocks)
    ]
    read = [_columns(connection, part.order_by(at).limit(rows // blocks)) for part in parts]
    return {name: np.concatenate([block[name] for block in read]) for name in read[0]}


def id_range(connection: Connection, selection: Selection) -> tuple[int, int]:
    """The lowest and highest id since the selection's begin; (0, -1) without any request."""
    column = requests.c.id
    high = connection.execute(select(func.max(column))).scalar()
    lowest = select(func.min(column))
    if selection.since is not None:  # the sum keeps a planner from a search through all ids
        lowest = select(func.min(column + 0)).where(requests.c.at >= selection.since)
    low = connection.execute(lowest).scalar()
    return (0, -1) if low is None or high is None else (low, high)


def _compared_columns() -> Select[Any]:
    return select(*(requests.c[name] for name in (*NAMES, *NUMBERS)))


def _compared(selection: Selection) -> list[ColumnElement[bool]]:
    columns = requests.c
    answered = [columns.status == 200, columns.thinking_tokens.is_not(None)]
    return [*answered, columns.p_holdout > 0, *selection.where()]


def _columns(connection: Connection, query: Select[Any]) -> Columns:
    """One array (N,) per column: NAMES as objects, NUMBERS as floats with None as nan."""
    rows = connection.execute(query).all()
    values = list(zip(*rows, strict=True)) or [()] * (len(NAMES) + len(NUMBERS))
    names = dict(zip(NAMES, values, strict=False))
    numbers = dict(zip(NUMBERS, values[len(NAMES) :], strict=True))
    return {
        **{name: np.array(column, dtype=object) for name, column in names.items()},
        **{name: np.array(column, dtype=np.float64) for name, column in numbers.items()},
    }


def latest(engine: Engine, number: int, selection: Selection | None = None) -> Sequence[Row]:
    """The newest requests, newest first."""
    query = select(requests).where(*(selection or Selection()).where())
    return _all(engine, query.order_by(requests.c.id.desc()).limit(number))


def _all(engine: Engine, query: Executable) -> Sequence[Row]:
    with reading(engine) as connection:
        rows = connection.execute(query).mappings()
        return [{str(name): value for name, value in row.items()} for row in rows]


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A connection; errors of the database are raised as LedgerDown."""
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise LedgerDown(f"the ledger cannot be read: {error.orig}") from error


@contextmanager
def snapshot(engine: Engine) -> Generator[Connection]:
    """A connection whose queries all see the ledger as it was at the first of them."""
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            connection.exec_driver_sql("BEGIN")  # which the driver leaves out before a SELECT
            yield connection
    else:
        with reading(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
            yield connection
