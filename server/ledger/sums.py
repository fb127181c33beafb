"""Sums over requests as SQL: how rows become rows of the summaries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    TextClause,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    text,
)

from server.ledger.tables import requests

ANY_REQUEST = 0.5
"""Less than one request: what remains of sums from which all was subtracted may not be 0."""

Sums = Sequence[Any]
"""A slot, the DIMENSIONS, and the SUMS of requests that share them."""


def summed(
    connection: Connection, slot_seconds: int | None, *conditions: ColumnElement[bool]
) -> Sequence[Sums]:
    """The sums of the requests that fulfil the conditions, by slots of so many seconds.

    None: all are in the slot 0.
    """
    places = [slot(connection, slot_seconds), *_dimensions()]
    names = [column.label(f"d{number}") for number, column in enumerate(places)]
    query = select(*names, *_sums()).where(*conditions)
    return connection.execute(query.group_by(*names)).all()


def adding(table: Table, keys: Sequence[str], sums: Sequence[str]) -> TextClause:
    """The statement that adds `sums` to the row with these `keys`, in the words of both databases.

    Its parameters have the names of the columns.
    """
    columns, name = (*keys, *sums), table.name
    return text(
        f"INSERT INTO {name} ({', '.join(columns)}) "  # noqa: S608 - of names in the code
        f"VALUES ({', '.join(f':{column}' for column in columns)}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET "
        + ", ".join(f"{column} = {name}.{column} + excluded.{column}" for column in sums)
    )


def slot(connection: Connection, width: int | None) -> ColumnElement[int]:
    """The slot of a request, of a width in seconds, or 0 where that is None."""
    if width is None:
        return cast(literal(0), BigInteger)
    slots = requests.c.at / width
    if connection.dialect.name != "sqlite":  # whose casts truncate; PostgreSQL's round
        slots = func.floor(slots)
    return cast(slots, BigInteger) * width


def _dimensions() -> list[ColumnElement[Any]]:
    columns = requests.c
    answered = and_(columns.status == 200, columns.thinking_tokens.is_not(None))
    drawn = and_(answered, columns.arm.in_(("treated", "holdout")))
    compared = case((and_(drawn, columns.p_holdout > 0), 1), (drawn, 0), else_=-1)
    return [
        columns.key,
        columns.model,
        func.coalesce(columns.kind, ""),
        columns.effort,
        func.coalesce(columns.routed, ""),
        func.coalesce(columns.arm, ""),
        columns.status,
        compared,
    ]


def _sums() -> list[ColumnElement[Any]]:
    """In the order of `server.ledger.tables.SUMS`."""
    columns = requests.c
    unit, none = literal(1.0), literal(0.0)
    p, q = columns.p_treated, columns.p_holdout
    weight = p * p / func.nullif(q, 0) + p
    tokens, chance, scored = (
        columns.baseline_tokens,
        columns.baseline_p_correct,
        columns.score.is_not(None),
    )
    ttft = columns.ttft_seconds
    terms = [
        unit,
        columns.choices,
        columns.prompt_tokens,
        columns.cached_tokens,
        columns.cache_write_tokens,
        columns.thinking_tokens,
        columns.answer_tokens,
        columns.unsplit_tokens,
        columns.seconds,
        case((ttft.is_not(None), unit), else_=none),
        ttft,
        case((columns.budget_hit, unit), else_=none),
        case((tokens.is_not(None), unit), else_=none),
        tokens,
        case((tokens.is_not(None), weight), else_=none),
        weight * tokens,
        weight * tokens * tokens,
        case((tokens.is_(None), weight), else_=none),
        case((scored, unit), else_=none),
        columns.score,
        case((and_(scored, chance.is_not(None)), unit), else_=none),
        case((scored, chance), else_=none),
        case((and_(scored, chance.is_not(None)), weight), else_=none),
        case((scored, weight * chance), else_=none),
        case((scored, weight * chance * chance), else_=none),
        case((and_(scored, chance.is_(None)), weight), else_=none),
    ]
    return [func.coalesce(func.sum(term), none) for term in terms]
