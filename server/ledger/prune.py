"""Deletes the oldest requests, and takes them out of the summaries, some at a time."""

from sqlalchemy import Connection, Engine, delete, func, select

from server.ledger.loop_sums import subtract_loops
from server.ledger.summaries import forget_after, hold, subtract
from server.ledger.tables import conversation_scores, requests, summaries

PRUNED_ROWS = 5_000
"""Rows that are deleted in one transaction: gateways that write wait for less than a second."""


def prune_chunk(engine: Engine, before: float, rows: int = PRUNED_ROWS) -> int:
    """Delete about `rows` of the requests before a time (Unix seconds); how many it deleted.

    The summaries are right after each call; readers see all of it or nothing. Raises DBAPIError.
    """
    at = requests.c.at
    with engine.begin() as connection:
        upto = hold(connection)
        oldest = select(at).where(at < before).order_by(at)
        latest = connection.execute(oldest.offset(rows - 1).limit(1)).scalar()
        condition = at < before if latest is None else at <= latest
        subtract(connection, upto, condition)
        subtract_loops(connection, upto, condition)
        deleted = connection.execute(delete(requests).where(condition)).rowcount
        _forget_scores(connection, before)
        if engine.dialect.name == "sqlite":
            highest = connection.execute(select(func.max(requests.c.id))).scalar()
            forget_after(connection, highest or 0)
        if latest is None:  # what rows left that somebody else deleted
            columns = summaries.c
            connection.execute(
                delete(summaries).where(columns.slot + columns.slot_seconds <= before)
            )
    return deleted


def _forget_scores(connection: Connection, before: float) -> None:
    """Delete old feedback on conversations of which no request is left."""
    scores = conversation_scores.c
    same = requests.c.conversation == scores.conversation
    old = scores.scored_at < before, ~select(requests.c.id).where(same).exists()
    connection.execute(delete(conversation_scores).where(*old))


def count_before(engine: Engine, before: float) -> int:
    """How many requests there are before a time. Raises DBAPIError."""
    with engine.connect() as connection:
        query = select(func.count()).select_from(requests).where(requests.c.at < before)
        return connection.execute(query).scalar_one()
