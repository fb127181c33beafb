"""Reads the ledger: the requests whose effort was the gateway's to choose, and the latest ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Engine, Executable, case, cast, func, select
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


def answered(engine: Engine, selection: Selection, most: int | None = None) -> Sequence[Row]:
    """Answered requests that were drawn into an arm and whose thinking was counted.

    Newest first, at most so many.

    Raises:
        LedgerDown: the database cannot be read.
    """
    columns = requests.c
    wanted = (
        select(requests)
        .where(
            columns.status == 200,
            columns.arm.is_not(None),
            columns.thinking_tokens.is_not(None),
            *selection.where(),
        )
        .order_by(columns.id.desc())
        .limit(most)
    )
    return _all(engine, wanted)


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
    try:
        with engine.connect() as connection:
            found = connection.execute(wanted).mappings()
            return [{str(name): value for name, value in row.items()} for row in found]
    except DBAPIError as error:
        raise LedgerDown(f"the ledger cannot be read: {error.orig}") from error
