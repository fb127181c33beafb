"""Keeps the sums per conversation, and per turn of a tool loop, beside the summaries.

Each is one statement in the words of both databases: the rows never leave them.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, text

from server.ledger.sums import slot
from server.ledger.tables import (
    CONVERSATION_SUMS,
    LOOP_SUMS,
    MAX_LOOP_TURN,
    SLOT_SECONDS,
    conversation_scores,
    conversations,
    loop_turns,
    requests,
)

_REFUSED = "status >= 400 AND status < 499"
_ANY = 0.5

_MERGED_ARM = """CASE
    WHEN conversations.arm = '' THEN excluded.arm
    WHEN excluded.arm IN ('', conversations.arm) THEN conversations.arm
    ELSE 'mixed' END"""
_TOKENS = ", ".join(f"coalesce(sum({name}), 0)" for name in CONVERSATION_SUMS[1:])
_ADDED = ", ".join(f"{name} = conversations.{name} + excluded.{name}" for name in CONVERSATION_SUMS)
_ADD_CONVERSATIONS = text(
    f"""INSERT INTO conversations (conversation, model, kind, key, began, ended, arm, p_treated,
        p_holdout, {", ".join(CONVERSATION_SUMS)})
    SELECT conversation, model, coalesce(kind, ''), min(key), min(at), max(at),
        CASE WHEN min(arm) <> max(arm) THEN 'mixed' ELSE coalesce(min(arm), '') END,
        max(p_treated), max(p_holdout),
        sum(CASE WHEN {_REFUSED} THEN 0.0 ELSE 1.0 END), {_TOKENS}
    FROM requests WHERE id BETWEEN :first AND :last AND conversation IS NOT NULL
    GROUP BY conversation, model, coalesce(kind, '')
    ON CONFLICT (conversation, model, kind) DO UPDATE SET
        began = CASE WHEN excluded.began < conversations.began THEN excluded.began
            ELSE conversations.began END,
        ended = CASE WHEN excluded.ended > conversations.ended THEN excluded.ended
            ELSE conversations.ended END,
        arm = {_MERGED_ARM},
        p_treated = coalesce(conversations.p_treated, excluded.p_treated),
        p_holdout = coalesce(conversations.p_holdout, excluded.p_holdout),
        {_ADDED}
    """  # noqa: S608 - of names in the code
)

_LOOP_KEYS = ("slot", "key", "model", "kind", "arm", "effort", "turn")


def add_sessions(connection: Connection, first: int, last: int) -> None:
    """Add the requests with ids from `first` to `last`."""
    connection.execute(_ADD_CONVERSATIONS, {"first": first, "last": last})
    _change_loops(connection, 1, requests.c.id.between(first, last))


def forget_sessions(
    connection: Connection, upto: int, before: float, *conditions: ColumnElement[bool]
) -> None:
    """Take requests up to the id `upto` out; and the conversations that ended before a time.

    A conversation that goes on keeps its sums until it ends: its cost is that of all its turns.
    """
    _change_loops(connection, -1, requests.c.id <= upto, *conditions)
    connection.execute(delete(loop_turns).where(loop_turns.c.requests < _ANY))
    connection.execute(delete(conversations).where(conversations.c.ended < before))
    scores = conversation_scores.c
    still_there = select(conversations.c.conversation)
    old = scores.scored_at < before, scores.conversation.not_in(still_there)
    connection.execute(delete(conversation_scores).where(*old))


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
