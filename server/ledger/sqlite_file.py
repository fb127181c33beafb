"""The file of a SQLite ledger: whether it is still the one that was opened.

Whoever deletes or replaces a database that is open leaves its connections with a file that has no
name: rows written there are lost.
"""

from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError


class SqliteFile:
    """Watches the path of a database; a database without one is never replaced."""

    def __init__(self, engine: Engine) -> None:
        database = engine.url.database if engine.dialect.name == "sqlite" else None
        self._path = Path(database) if database else None
        self._identity: tuple[int, int] | None = None
        self._bytes = 0

    def remember(self) -> None:
        """Take the file that is there now for the one that is open."""
        self._identity = self._read_identity()

    def was_replaced(self) -> bool:
        """Whether the path has no file any longer, another one, or one that was cut."""
        if self._identity is None:
            return False
        before = self._bytes
        return self._read_identity() != self._identity or self._bytes < before

    def empty_its_log(self, engine: Engine) -> None:
        """Move the rows of the write-ahead log into the file that is open.

        Its log stays at the path, and SQLite would apply it to whatever file is there now.
        """
        with suppress(DBAPIError), engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def lost_its_log(self) -> bool:
        """Whether the write-ahead log was deleted: only closing the connections saves its rows."""
        if self._path is None or self._identity is None:
            return False
        return not self._path.with_name(self._path.name + "-wal").exists()

    def _read_identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        self._bytes = status.st_size
        return status.st_dev, status.st_ino
