"""Writes the ledger in batches, from a thread of its own: no request ever waits for it.

A killed process loses what the last quarter of a second brought. While the database cannot be
written, rows are kept up to a bound and tried again; what falls out is counted.
"""

import threading
import time
from collections import deque
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import Engine, delete, insert, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from server.ledger.reader import Row, find
from server.ledger.row import row_of
from server.ledger.schema import LedgerDown, LedgerError, prepare, requests
from server.lifecycle.record import RequestRecord

_BATCH_SECONDS = 0.25
_LOOKS = 3
_BATCH_ROWS = 2_000
_MOST_KEPT = 100_000
_RETRY_SECONDS = 2.0
_CLEAN_SECONDS = 3_600.0
_STOP_SECONDS = 5.0
_DAY = 86_400.0
_SPOILED = (DataError, IntegrityError, OverflowError)
"""What a database says of values that it cannot hold, such as an engine's absurd token count."""

log = structlog.get_logger(__name__)


class Ledger:
    """One gateway's end of a ledger.

    Args:
        engine: of the database; see `server.ledger.schema.connect`.
        written, lost: count rows.
        days: rows older than this are deleted; None keeps them.
        prepared: the tables are there already.
    """

    def __init__(
        self, engine: Engine, written: Counter, lost: Counter, days: float | None, prepared: bool
    ) -> None:
        self.engine = engine
        self._written, self._lost = written, lost
        self._days = days
        self._prepared = prepared
        columns = [column.name for column in requests.c if not column.primary_key]
        self._insertion = str(insert(requests).compile(engine, column_keys=columns))
        self._kept: deque[dict[str, Any]] = deque()
        self._records: deque[RequestRecord] = deque()
        self._recorded = self._settled = 0
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._stopping = False
        self._cleaned = 0.0
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, as far as that takes a few seconds."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_SECONDS)
        self.engine.dispose()

    def record(self, record: RequestRecord) -> None:
        """Note a closed request; returns at once."""
        self._recorded += 1
        self._records.append(record)

    def score(self, request_id: str, key: str, score: float) -> Row | None:
        """Note feedback on the newest request of that id and key; its row, None without one.

        Waits for rows on their way: a client may have its answer's last byte before the request is
        closed here. Call it off the event loop. Later feedback replaces earlier.

        Raises:
            LedgerDown: the database cannot be written now.
        """
        for _ in range(_LOOKS):
            self._flush()
            row = find(self.engine, request_id, key)
            if row is not None:
                self._note_score(row["id"], score)
                return row
            time.sleep(_BATCH_SECONDS)
        return None

    def _note_score(self, row: int, score: float) -> None:
        noted = update(requests).where(requests.c.id == row)
        try:
            with self.engine.begin() as connection:
                connection.execute(noted.values(score=score, scored_at=time.time()))
        except DBAPIError as error:
            raise LedgerDown("the ledger cannot be written now") from error

    def _flush(self) -> None:
        until = self._recorded
        self._wake.set()
        with self._progress:
            self._progress.wait_for(lambda: self._settled >= until, 4 * _BATCH_SECONDS)

    def _run(self) -> None:
        while True:
            self._wake.wait(_BATCH_SECONDS)
            self._wake.clear()
            stopping = self._stopping
            wrote = self._write_all()
            if stopping:
                if not wrote:
                    self._lost.inc(len(self._kept))
                return
            if not wrote:
                self._wake.wait(_RETRY_SECONDS)
            elif self._days is not None and time.monotonic() - self._cleaned > _CLEAN_SECONDS:
                self._clean()

    def _write_all(self) -> bool:
        """Whether everything that was recorded is in the database, or was never to be."""
        taken = 0
        while self._records:
            taken += 1
            row = row_of(self._records.popleft())
            if row is not None:
                self._kept.append(row)
        try:
            while self._kept:
                self._write_batch()
        except (SQLAlchemyError, LedgerDown, LedgerError) as error:
            self._note_failure(error)
        else:
            self._failing = False
        self._forget_excess()
        with self._progress:
            self._settled += taken
            self._progress.notify_all()
        return not self._kept

    def _write_batch(self) -> None:
        if not self._prepared:
            prepare(self.engine)
            self._prepared = True
        batch = [self._kept[place] for place in range(min(len(self._kept), _BATCH_ROWS))]
        try:
            self._insert(batch)
        except _SPOILED:  # by one row; the others need not wait for that
            for row in batch:
                self._write_alone(row)
                self._kept.popleft()
            return
        self._written.inc(len(batch))
        for _ in batch:
            self._kept.popleft()

    def _write_alone(self, row: dict[str, Any]) -> None:
        try:
            self._insert([row])
            self._written.inc()
        except _SPOILED as error:
            self._lost.inc()
            log.warning("the ledger does not take a row", error=type(error).__name__)

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(self._insertion, rows)  # 5 us a row less than `execute`

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:  # once per outage
            cause = getattr(error, "orig", None) or error
            log.warning("the ledger cannot be written; rows are kept", error=str(cause))
        self._failing = True

    def _forget_excess(self) -> None:
        while len(self._kept) > _MOST_KEPT:
            self._kept.popleft()
            self._lost.inc()

    def _clean(self) -> None:
        self._cleaned = time.monotonic()
        oldest = time.time() - (self._days or 0) * _DAY
        try:
            with self.engine.begin() as connection:
                connection.execute(delete(requests).where(requests.c.at < oldest))
        except DBAPIError as error:
            self._note_failure(error)
