"""Reads the ledger: rows for the savings report, for off-policy evaluation and the dashboard."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Executable,
    case,
    cast,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.exc import DBAPIError

from server.ledger.schema import LedgerDown, requests
from server.lifecycle.tracker import CLIENT_CLOSED_REQUEST


@dataclass(frozen=True)
class Selection:
    """A filter: rows at or after `since` (Unix seconds), of one model, API key and kind."""

    since: float | None = None
    model: str | None = None
    key: str | None = None
    kind: str | None = None

    def where(self) -> list[ColumnElement[bool]]:
        """The filter as SQL conditions."""
        conditions: list[ColumnElement[bool]] = []
        if self.since is not None:
            conditions.append(requests.c.at >= self.since)
        if self.model is not None:
            conditions.append(requests.c.model == self.model)
        if self.key is not None:
            conditions.append(requests.c.key == self.key)
        if self.kind is not None:
            conditions.append(requests.c.kind == self.kind)
        return conditions


Row = Mapping[str, Any]
Columns = Mapping[str, NDArray[Any]]


NAMES = ("arm", "conversation", "model", "key", "kind", "routed")
NUMBERS = (
    "at", "p_treated", "p_holdout", "thinking_tokens", "answer_tokens", "seconds",
    "baseline_tokens", "baseline_p_correct", "score",
)  # fmt: skip


def comparable(engine: Engine, selection: Selection, limit: int | None = None) -> Columns:
    """Answered requests, treated or held out, newest first; at most `limit` of them.

    Raises:
        LedgerDown: the database cannot be read.
    """
    columns = requests.c
    query = (
        select(*(columns[name] for name in (*NAMES, *NUMBERS)))
        .where(columns.arm.in_(("treated", "holdout")), *_answered(selection))
        .order_by(columns.id.desc())
        .limit(limit)
    )
    with reading(engine) as connection:
        return as_columns(connection.execute(query).all())


def as_columns(rows: Sequence[Sequence[Any]]) -> Columns:
    """Rows as one array (N,) per column: NAMES as objects, NUMBERS as floats with None as nan."""
    values = list(zip(*rows, strict=True)) or [()] * (len(NAMES) + len(NUMBERS))
    names = dict(zip(NAMES, values, strict=False))
    numbers = dict(zip(NUMBERS, values[len(NAMES) :], strict=True))
    return {
        **{name: np.array(column, dtype=object) for name, column in names.items()},
        **{name: np.array(column, dtype=np.float64) for name, column in numbers.items()},
    }


def decided(engine: Engine, selection: Selection) -> Sequence[Row]:
    """All columns of answered requests of every arm, oldest first: for off-policy evaluation.

    Raises:
        LedgerDown: the database cannot be read.
    """
    query = select(requests).where(requests.c.arm.is_not(None), *_answered(selection))
    return _all(engine, query.order_by(requests.c.id))


def _answered(selection: Selection) -> list[ColumnElement[bool]]:
    columns = requests.c
    return [columns.status == 200, columns.thinking_tokens.is_not(None), *selection.where()]


def _accepted() -> ColumnElement[bool]:
    """Requests that an engine worked on: not refused with 400 to 498, by gateway or engine."""
    status = requests.c.status
    return or_(status < 400, status >= CLIENT_CLOSED_REQUEST)


def counts(engine: Engine, selection: Selection) -> Mapping[str, int]:
    """Accepted requests by arm; explicit if the client chose the effort."""
    return _count_by_arm(engine, _accepted(), *selection.where())


def refusals(engine: Engine, selection: Selection) -> Mapping[str, int]:
    """Refused requests by arm: they have an effort, but no engine spent tokens on it."""
    return _count_by_arm(engine, not_(_accepted()), *selection.where())


def _count_by_arm(engine: Engine, *conditions: ColumnElement[bool]) -> Mapping[str, int]:
    arm = func.coalesce(requests.c.arm, "explicit")
    query = select(arm.label("arm"), func.count().label("requests"))
    rows = _all(engine, query.where(*conditions).group_by(arm))
    return {row["arm"]: row["requests"] for row in rows}


def tallies(engine: Engine, selection: Selection, seconds: float) -> Sequence[Row]:
    """Accepted requests, thinking tokens and budget hits by `bin` and effort.

    `bin` is the Unix time over `seconds`.
    """
    columns = requests.c
    bins = columns.at / seconds
    if engine.dialect.name != "sqlite":  # whose casts truncate; PostgreSQL's round
        bins = func.floor(bins)
    index = cast(bins, BigInteger).label("bin")
    query = select(
        index,
        columns.effort,
        func.count().label("requests"),
        func.sum(columns.thinking_tokens).label("thinking"),
        func.sum(case((columns.budget_hit, 1), else_=0)).label("hits"),
    )
    where = (_accepted(), *selection.where())
    return _all(engine, query.where(*where).group_by(index, columns.effort))


def latest(engine: Engine, number: int, selection: Selection | None = None) -> Sequence[Row]:
    """The newest requests, newest first."""
    query = select(requests).where(*(selection or Selection()).where())
    return _all(engine, query.order_by(requests.c.id.desc()).limit(number))


def find(engine: Engine, request_id: str, key: str) -> Row | None:
    """The newest request of an id and an API key."""
    same = requests.c.request_id == request_id, requests.c.key == key
    query = select(requests).where(*same).order_by(requests.c.id.desc()).limit(1)
    return next(iter(_all(engine, query)), None)


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
