"""Deletes the ledger's expired rows, unless the clock that says so may be wrong.

A clock that is 400 days ahead, for a minute or since the start, makes every row look expired. Rows
are deleted where the ledger's own rows show that the time has passed, or once the clock has run
steadily for some days. Every deletion, and every delay of one, is logged.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection, Engine, func, select

from server.ledger.prune import PRUNED_ROWS, prune_chunk
from server.ledger.tables import requests
from server.observe.backoff import Backoff

_DAY = 86_400.0
_CLEAN_SECONDS = 3_600.0
_MIN_JUMP_SECONDS = 600.0
_STEADY_DAYS, _QUIET_DAYS, _QUIET_SHARE = 7.0, 7.0, 0.25
"""A clock is trusted after `_STEADY_DAYS`, or if rows precede these days by at most `_QUIET_DAYS`
or this share of the retention: so long a time without traffic is usual."""

log = structlog.get_logger(__name__)


def _boot_seconds() -> float:
    """Seconds that run while the machine sleeps, and that nobody can set."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Retention:
    """Keeps the rows of so many days.

    Args:
        engine: the database's, with tables.
        days: rows older than this are deleted.
        wall: the time, in Unix seconds.
        steady: seconds that never jump.
    """

    def __init__(
        self,
        engine: Engine,
        days: float,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = _boot_seconds,
    ) -> None:
        self._engine = engine
        self._days = days
        self._wall, self._steady = wall, steady
        self._steady_since = steady()
        self._offset = wall() - steady()
        self._has_jumped = False
        self._cleaned_at: float | None = None
        self._until: float | None = None
        self._deleted = 0
        self._warning = Backoff(0.0, _CLEAN_SECONDS, _DAY, steady)

    def apply(self) -> None:
        """Notice a jump of the clock; once an hour, delete expired rows. Raises DBAPIError.

        A call deletes some rows; the next ones go on.
        """
        self._notice_jump()
        now = self._steady()
        if self._cleaned_at is None or now - self._cleaned_at >= _CLEAN_SECONDS:
            self._cleaned_at = now
            with self._engine.connect() as connection:
                self._until, self._deleted = self._find_expired(connection), 0
        if self._until is not None:
            self._delete(self._until)

    def _delete(self, until: float) -> None:
        deleted = prune_chunk(self._engine, until)
        self._deleted += deleted
        if deleted < PRUNED_ROWS:
            self._until = None
            log.info("the ledger deleted expired rows", rows=self._deleted, days=self._days)

    def _find_expired(self, connection: Connection) -> float | None:
        """The time before which rows are to be deleted; None if there are none, or it is unsure."""
        now = self._wall()
        newest = connection.execute(select(func.max(requests.c.at))).scalar()
        if newest is not None and newest > now + _CLEAN_SECONDS and self._warning.due():
            log.warning(
                "the ledger has rows of the future: the clock is wrong, or was",
                newest=_date(newest),
            )
        until = now - self._days * _DAY
        expired = requests.c.at < until
        rows = connection.execute(select(func.count()).where(expired)).scalar_one()
        if not rows:
            return None
        if self._trusts_clock(connection, now):
            return until
        if self._warning.due():
            log.warning(
                "the ledger keeps rows that look expired: the clock jumped, or there were no "
                "requests for long; it deletes them once the clock has run steadily",
                rows=rows,
                clock=_date(now),
                steady_days=min(_STEADY_DAYS, self._days),
            )
        return None

    def _trusts_clock(self, connection: Connection, now: float) -> bool:
        steady_days = min(_STEADY_DAYS, self._days)
        if self._steady() - self._steady_since >= steady_days * _DAY:
            return True
        if self._has_jumped:
            return False
        until = now - steady_days * _DAY
        since = until - max(_QUIET_DAYS, _QUIET_SHARE * self._days) * _DAY
        query = select(requests.c.id).where(requests.c.at.between(since, until)).limit(1)
        return connection.execute(query).first() is not None

    def _notice_jump(self) -> None:
        offset = self._wall() - self._steady()
        seconds = offset - self._offset
        self._offset = offset  # slow corrections do not add up
        if abs(seconds) >= _MIN_JUMP_SECONDS:
            self._has_jumped = True
            self._until = None
            self._steady_since = self._steady()
            log.warning("the clock jumped", seconds=round(seconds), clock=_date(self._wall()))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
