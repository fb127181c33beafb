"""Reads the ledger: the requests whose effort was the gateway's to choose, and the latest ones."""

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
    select,
)
from sqlalchemy.exc import DBAPIError

from server.ledger.schema import LedgerDown, requests


@dataclass(frozen=True)
class Selection:
    """Which requests: those at or after `since` (Unix seconds), of one model, of one API key."""

    since: float | None = None
    model: str | None = None
    key: str | None = None

    def where(self) -> list[ColumnElement[bool]]:
        """As conditions."""
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(requests.c.at >= self.since)
        if self.model is not None:
            found.append(requests.c.model == self.model)
        if self.key is not None:
            found.append(requests.c.key == self.key)
        return found


Row = Mapping[str, Any]
Columns = Mapping[str, NDArray[Any]]


NAMES = ("arm", "conversation", "model", "key", "routed")
NUMBERS = (
    "at", "p_treated", "p_holdout", "thinking_tokens", "answer_tokens", "seconds",
    "baseline_tokens", "baseline_p_correct", "score",
)  # fmt: skip


def comparable(engine: Engine, selection: Selection, most: int | None = None) -> Columns:
    """What savings are estimated from: answered requests, treated or held out; the newest `most`.

    Raises:
        LedgerDown: the database cannot be read.
    """
    columns = requests.c
    wanted = (
        select(*(columns[name] for name in (*NAMES, *NUMBERS)))
        .where(columns.arm.in_(("treated", "holdout")), *_answered(selection))
        .order_by(columns.id.desc())
        .limit(most)
    )
    with _reading(engine) as connection:
        return as_columns(connection.execute(wanted).all())


def as_columns(rows: Sequence[Sequence[Any]]) -> Columns:
    """Rows of names and numbers as arrays (N,); None is nan."""
    values = list(zip(*rows, strict=True)) or [()] * (len(NAMES) + len(NUMBERS))
    names = dict(zip(NAMES, values, strict=False))
    numbers = dict(zip(NUMBERS, values[len(NAMES) :], strict=True))
    return {
        **{name: np.array(of, dtype=object) for name, of in names.items()},
        **{name: np.array(of, dtype=np.float64) for name, of in numbers.items()},
    }


def decided(engine: Engine, selection: Selection) -> Sequence[Row]:
    """Answered requests of every arm, whole rows, oldest first: what other policies are judged by.

    Raises:
        LedgerDown: the database cannot be read.
    """
    wanted = select(requests).where(requests.c.arm.is_not(None), *_answered(selection))
    return _all(engine, wanted.order_by(requests.c.id))


def _answered(selection: Selection) -> list[ColumnElement[bool]]:
    columns = requests.c
    return [columns.status == 200, columns.thinking_tokens.is_not(None), *selection.where()]


def counts(engine: Engine, selection: Selection) -> Mapping[str, int]:
    """Requests by arm: treated, holdout, explore, and explicit where the client chose."""
    arm = func.coalesce(requests.c.arm, "explicit")
    wanted = select(arm.label("arm"), func.count().label("requests"))
    found = _all(engine, wanted.where(*selection.where()).group_by(arm))
    return {row["arm"]: row["requests"] for row in found}


def tallies(engine: Engine, selection: Selection, seconds: float) -> Sequence[Row]:
    """Requests, thinking tokens and budget hits by `bin` (Unix time over `seconds`) and effort."""
    columns = requests.c
    bins = columns.at / seconds
    if engine.dialect.name != "sqlite":  # whose casts cut, where PostgreSQL's round
        bins = func.floor(bins)
    place = cast(bins, BigInteger).label("bin")
    wanted = select(
        place,
        columns.effort,
        func.count().label("requests"),
        func.sum(columns.thinking_tokens).label("thinking"),
        func.sum(case((columns.budget_hit, 1), else_=0)).label("hits"),
    )
    return _all(engine, wanted.where(*selection.where()).group_by(place, columns.effort))


def latest(engine: Engine, number: int) -> Sequence[Row]:
    """The newest requests, newest first."""
    return _all(engine, select(requests).order_by(requests.c.id.desc()).limit(number))


def find(engine: Engine, request_id: str, key: str) -> Row | None:
    """The newest request of an id and an API key."""
    same = requests.c.request_id == request_id, requests.c.key == key
    wanted = select(requests).where(*same).order_by(requests.c.id.desc()).limit(1)
    return next(iter(_all(engine, wanted)), None)


def _all(engine: Engine, wanted: Executable) -> Sequence[Row]:
    with _reading(engine) as connection:
        found = connection.execute(wanted).mappings()
        return [{str(name): value for name, value in row.items()} for row in found]


@contextmanager
def _reading(engine: Engine) -> Generator[Connection]:
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise LedgerDown(f"the ledger cannot be read: {error.orig}") from error
