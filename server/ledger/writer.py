"""Writes the ledger in batches, from a thread of its own: no request waits for the database.

A killed process loses the rows of the last quarter of a second. While the database is down, up to
100,000 rows wait in memory; the oldest ones beyond that are dropped and counted.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from server.ledger.conversation_scores import Search, store_score
from server.ledger.reader import Row, reading
from server.ledger.request_scores import newest_request, store_request_score
from server.ledger.retention import Retention
from server.ledger.row import row_of
from server.ledger.schema import LedgerDown, LedgerError, is_down, prepare, shared_key
from server.ledger.sqlite_file import SqliteFile
from server.ledger.summarizer import Summarizer
from server.ledger.tables import requests
from server.lifecycle.record import RequestRecord
from server.observe.backoff import Backoff

_BATCH_SECONDS = 0.25
_IDLE_SECONDS = 2.0
"""Seconds between two looks at the database while no request ends."""

_SCORE_ATTEMPTS = 3
_BATCH_ROWS = 2_000
_MAX_PENDING_ROWS = 100_000
_RETRY_SECONDS = 2.0
_WARNING_SECONDS, _MAX_WARNING_SECONDS = 60.0, 3_600.0
"""Seconds between two reports of the same outage."""

_STOP_SECONDS = 5.0
_INVALID_ROW = (DataError, IntegrityError, OverflowError, ValueError)
"""Errors for values that a column cannot hold, such as a token count beyond 2**31."""

log = structlog.get_logger(__name__)

_Scored = TypeVar("_Scored")


class Ledger:
    """Writes one gateway's rows.

    `on_key` is called, in the writer's thread, with a key that replaces the one from before.

    Args:
        engine: the database's; see `server.ledger.schema.connect`.
        written, lost: count rows.
        days: rows older than this are deleted; None keeps them.
        prepared: whether the tables exist already.
        key: of the conversations' hashes, until the ledger turns out to have another one. It is
            stored in a ledger that has none. None: the ledger's is not used.
    """

    def __init__(
        self,
        engine: Engine,
        written: Counter,
        lost: Counter,
        days: float | None,
        prepared: bool,
        key: bytes | None = None,
    ) -> None:
        self.engine = engine
        self.on_key: Callable[[bytes], None] | None = None
        self._written, self._lost = written, lost
        self._retention = None if days is None else Retention(engine, days)
        self._summarizer = Summarizer(engine)
        self._prepared = prepared
        self._key = key
        self._file = SqliteFile(engine)
        if prepared:
            self._file.remember()
        self._insertion = _insertion(engine)
        self._pending: deque[tuple[Any, ...]] = deque()
        self._records: deque[RequestRecord] = deque()
        self._recorded = self._settled = 0
        self._progress = threading.Condition()
        self._writes = threading.Lock()
        """Held by each write of this process. Those that wait for SQLite's own lock poll it, and
        fail after five seconds."""

        self._ended, self._due = threading.Event(), threading.Event()
        self._is_idle = False
        self._stopping = False
        self._warning = Backoff(0.0, _WARNING_SECONDS, _MAX_WARNING_SECONDS)
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write the rows that wait, and stop; rows that take longer than 5 s are lost."""
        self._stopping = True
        self._end_wait()
        self._thread.join(_STOP_SECONDS)
        rows = len(self._records) + len(self._pending)
        if rows:
            log.error("the gateway ends with rows that the ledger did not take: lost", rows=rows)
        self.engine.dispose()

    def record(self, record: RequestRecord) -> None:
        """Queue a closed request; does not block."""
        self._recorded += 1
        self._records.append(record)
        if self._is_idle:
            self._is_idle = False
            self._ended.set()

    def score(self, request_id: str, key: str, score: float) -> Row | None:
        """Store feedback with the newest request of an id and API key; its row, or None.

        Blocks until queued rows are written: a client may have the last byte of its answer before
        the request is closed here. Call it in a thread. Later feedback replaces earlier.

        Raises:
            LedgerDown: the database cannot be written now.
        """
        search = partial(newest_request, request_id=request_id, key=key)
        return self._store(search, partial(store_request_score, score=score))

    def score_conversation(self, search: Search, key: str, score: float) -> bool:
        """Store feedback with a conversation of an API key; whether there is one.

        Otherwise as `score`.
        """
        return self._store(search, partial(store_score, key=key, score=score)) is not None

    def _store(
        self,
        search: Callable[[Connection], _Scored | None],
        store: Callable[[Connection, _Scored], None],
    ) -> _Scored | None:
        for _ in range(_SCORE_ATTEMPTS):
            self._flush()
            with reading(self.engine) as connection:
                scored = search(connection)
            if scored is not None:
                try:
                    with self._writes, self.engine.begin() as connection:
                        store(connection, scored)
                except DBAPIError as error:
                    raise LedgerDown("the ledger cannot be written now") from error
                return scored
            time.sleep(_BATCH_SECONDS)
        return None

    def _flush(self) -> None:
        until = self._recorded
        self._end_wait()
        with self._progress:
            self._progress.wait_for(lambda: self._settled >= until, 4 * _BATCH_SECONDS)

    def _run(self) -> None:
        while True:
            self._wait()
            stopping = self._stopping
            wrote = self._write_and_summarize()
            if stopping:
                if not wrote:
                    self._lost.inc(len(self._pending))
                return
            if not wrote:
                self._due.wait(_RETRY_SECONDS)

    def _wait(self) -> None:
        """Wait until a batch is due: a while after a request has ended, or once it is asked for."""
        self._ended.clear()
        self._is_idle = True
        if not (self._records or self._due.is_set()):
            self._ended.wait(_IDLE_SECONDS)
        self._is_idle = False
        self._due.wait(_BATCH_SECONDS)
        self._due.clear()

    def _end_wait(self) -> None:
        self._due.set()
        self._ended.set()

    def _write_and_summarize(self) -> bool:
        try:
            wrote = self._write_all()
            if wrote:
                with self._writes:
                    self._summarizer.apply()
                    if self._retention is not None:
                        self._retention.apply()
        except DBAPIError as error:
            self._note_failure(error)
            return False
        except Exception:
            if self._warning.due():
                log.exception("the ledger's writer failed; rows wait in memory")
            return False
        return wrote

    def _write_all(self) -> bool:
        """Write all queued requests; whether none is left and the ledger is open."""
        converted = 0
        while self._records:
            converted += 1
            self._convert(self._records.popleft())
        wrote = False
        try:
            self._open()
            while self._pending:
                self._write_batch()
            wrote = True
        except (SQLAlchemyError, LedgerDown, LedgerError) as error:
            self._note_failure(error)
        else:
            self._warning.reset()
        self._drop_excess()
        with self._progress:
            self._settled += converted
            self._progress.notify_all()
        return wrote

    def _convert(self, record: RequestRecord) -> None:
        row = row_of(record)
        if row is not None:
            self._pending.append(tuple(row.values()))

    def _open(self) -> None:
        """Make sure that the database has its tables, is the one at its path, and has our key."""
        if self._prepared and self._file.was_replaced():
            log.warning("the ledger's file was deleted or replaced; a new one is opened")
            self._file.empty_its_log(self.engine)
            self._prepared = False
        if self._prepared and self._file.lost_its_log():
            self.engine.dispose()  # which writes the log's rows into the file
        if self._prepared:
            return
        self.engine.dispose()
        prepare(self.engine)
        if self._key is not None:
            key = shared_key(self.engine, self._key)
            if key != self._key and self.on_key is not None:
                self.on_key(key)
            self._key = key
        self._file.remember()
        self._prepared = True

    def _write_batch(self) -> None:
        batch = [self._pending[index] for index in range(min(len(self._pending), _BATCH_ROWS))]
        try:
            self._insert(batch)
        except _INVALID_ROW:  # one row is invalid; the others are written without it
            for row in batch:
                self._write_alone(row)
                self._pending.popleft()
            return
        self._written.inc(len(batch))
        for _ in batch:
            self._pending.popleft()

    def _write_alone(self, row: tuple[Any, ...]) -> None:
        try:
            self._insert([row])
            self._written.inc()
        except _INVALID_ROW as error:
            self._lost.inc()
            log.warning("the ledger cannot store a row", error=type(error).__name__)

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        with self._writes, self.engine.begin() as connection:
            connection.exec_driver_sql(self._insertion, rows)  # 5 us a row less than `execute`
        self._summarizer.note(len(rows))

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, DBAPIError) and not is_down(error):
            self._prepared = False  # look whether it is damaged
        if self._warning.due():
            cause = getattr(error, "orig", None) or error
            log.warning("the ledger cannot be written; rows wait in memory", error=str(cause))

    def _drop_excess(self) -> None:
        while len(self._pending) > _MAX_PENDING_ROWS:
            self._pending.popleft()
            self._lost.inc()


def _insertion(engine: Engine) -> str:
    """The statement for a row; its values are in the order of the columns.

    SQLite looks up named parameters one by one, for each row.
    """
    columns = [column.name for column in requests.c if not column.primary_key]
    style = "qmark" if engine.dialect.name == "sqlite" else "format"
    dialect = cast("Any", type(engine.dialect))(paramstyle=style)
    return str(insert(requests).compile(dialect=dialect, column_keys=columns))
