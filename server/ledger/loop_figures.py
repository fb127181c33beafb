"""Turns of tool loops by their number: sums per arm and effort, from the summed days and rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, case, cast, func, literal, select

from server.ledger.selection import Selection
from server.ledger.summaries import summarized_upto
from server.ledger.tables import LOOP_SUMS, SLOT_SECONDS, loop_turns, requests

_DAY = SLOT_SECONDS[-1]
_SINGLE = 10
_BOUNDS = (20, 50)
_LONGEST = 51

LoopSums = Sequence[Any]
"""The first turn of a range of them, arm, effort, and LOOP_SUMS."""


def name_of(turn: int) -> str:
    """The name of a range of turns by its first one: up to 10 by themselves."""
    return {11: "11-20", 21: "21-50", _LONGEST: "51+"}.get(turn, str(turn))


def loop_sums(connection: Connection, selection: Selection) -> Sequence[LoopSums]:
    """Sums of answered turns, in no order; a range and arm may have several rows of an effort."""
    upto = summarized_upto(connection)
    days = loop_turns.c
    where = selection.of(loop_turns)
    parts: list[Sequence[LoopSums]] = []
    since = selection.since
    if since is not None:
        begin = -(-int(since) // _DAY) * _DAY
        where.append(days.slot >= begin)
        edge = requests.c.at < begin, requests.c.id <= upto
        parts.append(_of_requests(connection, selection, *edge))
    keys = [_range(days.turn).label("first"), days.arm, days.effort]
    sums = [func.sum(days[name]) for name in LOOP_SUMS]
    parts.append(connection.execute(select(*keys, *sums).where(*where).group_by(*keys)).all())
    parts.append(_of_requests(connection, selection, requests.c.id > upto))
    return [row for part in parts for row in part]


def _of_requests(
    connection: Connection, selection: Selection, *conditions: ColumnElement[bool]
) -> Sequence[LoopSums]:
    columns = requests.c
    keys = [
        _range(columns.loop_turn).label("first"),
        func.coalesce(columns.arm, "").label("of_arm"),
        columns.effort,
    ]
    sums = [func.count(), *(func.sum(columns[name]) for name in LOOP_SUMS[1:])]
    answered = (
        columns.loop_turn.is_not(None),
        columns.status == 200,
        columns.thinking_tokens.is_not(None),
    )
    query = select(*keys, *sums).where(*answered, *selection.where(), *conditions)
    return connection.execute(query.group_by(*keys)).all()


def _range(turn: ColumnElement[int]) -> ColumnElement[int]:
    """The first turn of the range that has a turn."""
    lower, upper = _BOUNDS
    return cast(
        case(
            (turn <= _SINGLE, turn),
            (turn <= lower, literal(_SINGLE + 1)),
            (turn <= upper, literal(lower + 1)),
            else_=literal(_LONGEST),
        ),
        Integer,
    )
