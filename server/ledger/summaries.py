"""Keeps the summaries: sums of requests per slot of time.

Requests up to one id are in the summaries; whoever reads adds the newer ones. In SQLite, ids are
committed in their order. In PostgreSQL a transaction may commit after one with higher ids: an id
is settled once all transactions have ended that were running when it was the highest.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import add

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)

from server.ledger.loop_sums import add_loops
from server.ledger.sums import ANY_REQUEST, adding, summed
from server.ledger.tables import (
    DIMENSIONS,
    SLOT_SECONDS,
    SUMS,
    requests,
    summaries,
    summarized,
)

CHUNK_ROWS = 20_000
"""Requests that are added in one transaction: other writers wait for a tenth of a second."""

RECENT_SECONDS = 7_200.0
"""The finest slots are kept for so long."""

_STEPS = 3
"""Calls after which rows are added whose transactions have all ended."""

_KEYS = ("slot_seconds", "slot", *DIMENSIONS)
_ADD = adding(summaries, _KEYS, SUMS)


@dataclass(frozen=True)
class _Mark:
    upto: int
    settling: int
    transaction_id: int | None


def add_new(engine: Engine, rows: int = CHUNK_ROWS) -> int:
    """Add the oldest requests that no summary has yet, at most `rows`; how many ids are left.

    In PostgreSQL a request is added at the second call after its transaction and all that ran
    beside it have ended. Several processes may call at once. Raises DBAPIError.
    """
    with engine.connect() as connection:
        mark, highest = _mark(connection), _highest(connection)
        settled = _settled(connection, mark, highest)
        above = select(func.min(requests.c.id)).where(requests.c.id > mark.upto)
        lowest = connection.execute(above).scalar() or mark.upto + 1
    upto = min(settled.upto, lowest - 1 + rows) if settled.upto > mark.upto else settled.upto
    if upto < settled.upto:
        settled = _Mark(upto, settled.settling, settled.transaction_id)
    if settled != mark:
        with engine.begin() as connection:
            if _advance(connection, mark, settled):
                _add(connection, requests.c.id.between(mark.upto + 1, upto))
                add_loops(connection, mark.upto + 1, upto)
                _drop_old(connection)
    return max(highest - upto, 0)


def add_all(engine: Engine, progress: Callable[[int], None] = lambda _: None) -> None:
    """Add requests until few are left: all but the last CHUNK_ROWS, or what is not settled.

    `progress` is called with the number of ids that are left. Raises DBAPIError.
    """
    left, stuck = add_new(engine), 0
    while left > CHUNK_ROWS and stuck < _STEPS:
        progress(left)
        before, left = left, add_new(engine)
        stuck = 0 if left < before else stuck + 1


def summarized_upto(connection: Connection) -> int:
    """The highest id that is in the summaries."""
    return connection.execute(select(summarized.c.upto)).scalar_one()


def hold(connection: Connection) -> int:
    """`summarized_upto`, which stays as it is until this transaction ends."""
    connection.execute(update(summarized).values(upto=summarized.c.upto))
    return summarized_upto(connection)


def subtract(connection: Connection, upto: int, *conditions: ColumnElement[bool]) -> None:
    """Take requests out of the summaries: those up to the id `upto`, of `hold`."""
    rows = _levels(connection, requests.c.id <= upto, *conditions)
    if rows:
        columns = summaries.c
        own = [columns[name] == bindparam(f"own_{name}") for name in _KEYS]
        less = {name: columns[name] - bindparam(f"less_{name}") for name in SUMS}
        parameters = [
            {f"own_{name}": row[name] for name in _KEYS}
            | {f"less_{name}": row[name] for name in SUMS}
            for row in rows
        ]
        connection.execute(update(summaries).where(*own).values(less), parameters)
        connection.execute(
            delete(summaries).where(*own, columns.requests < ANY_REQUEST), parameters
        )


def add_again(connection: Connection, upto: int, *conditions: ColumnElement[bool]) -> None:
    """Add requests that `subtract` took out."""
    _add(connection, requests.c.id <= upto, *conditions)


def forget_after(connection: Connection, upto: int) -> None:
    """Note that no request has an id above `upto` any longer: SQLite gives ids anew."""
    lower = summarized.c.upto > upto
    connection.execute(update(summarized).where(lower).values(upto=upto, settling=upto))


def _mark(connection: Connection) -> _Mark:
    row = connection.execute(select(summarized)).one()
    return _Mark(row.upto, row.settling, row.transaction_id)


def _highest(connection: Connection) -> int:
    return connection.execute(select(func.max(requests.c.id))).scalar() or 0


def _settled(connection: Connection, mark: _Mark, highest: int) -> _Mark:
    """How far the requests are settled; one step, of three, towards settling newer ones."""
    if connection.dialect.name == "sqlite":
        return _Mark(highest, highest, None)
    oldest, next_one = connection.execute(
        text(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, "
            "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
    ).one()
    if mark.upto < mark.settling:
        if mark.transaction_id is None:
            return _Mark(mark.upto, mark.settling, next_one)
        if oldest < mark.transaction_id:
            return mark
        return _Mark(mark.settling, mark.settling, mark.transaction_id)
    return _Mark(mark.upto, highest, None) if highest > mark.upto else mark


def _advance(connection: Connection, mark: _Mark, new: _Mark) -> bool:
    """Replace a mark by a new one; False if another process has moved it."""
    columns = summarized.c
    same = (
        columns.upto == mark.upto,
        columns.settling == mark.settling,
        columns.transaction_id.is_not_distinct_from(mark.transaction_id),
    )
    values = {"upto": new.upto, "settling": new.settling, "transaction_id": new.transaction_id}
    return connection.execute(update(summarized).where(*same).values(values)).rowcount == 1


def _add(connection: Connection, *conditions: ColumnElement[bool]) -> None:
    rows = _levels(connection, *conditions)
    if rows:
        connection.execute(_ADD, rows)


def _levels(connection: Connection, *conditions: ColumnElement[bool]) -> list[dict[str, object]]:
    """Rows of the summaries for each width of slots; the finest only of recent requests."""
    fine, coarse, *_ = SLOT_SECONDS
    recent = (time.time() - RECENT_SECONDS) // coarse * coarse
    merged: dict[tuple[object, ...], list[float]] = {}
    for width, part in ((fine, requests.c.at >= recent), (coarse, requests.c.at < recent)):
        for slot, *group in summed(connection, width, part, *conditions):
            dimensions, sums = group[: len(DIMENSIONS)], group[len(DIMENSIONS) :]
            for coarser in SLOT_SECONDS:
                if coarser >= width:
                    key = (coarser, slot - slot % coarser, *dimensions)
                    old = merged.get(key)
                    merged[key] = sums if old is None else list(map(add, old, sums))
    return [
        dict(zip((*_KEYS, *SUMS), (*key, *sums), strict=True))
        for key, sums in sorted(merged.items())
    ]


def _drop_old(connection: Connection) -> None:
    columns = summaries.c
    old = columns.slot < time.time() - 2 * RECENT_SECONDS
    connection.execute(delete(summaries).where(columns.slot_seconds == SLOT_SECONDS[0], old))
