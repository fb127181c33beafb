"""Connects to the ledger's database and migrates its tables to this version."""

import secrets
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    OperationalError,
)

from server.ledger.tables import metadata, requests, secret

__all__ = ["metadata", "requests"]

_BUSY_SECONDS = 5
_BUSY_PAUSE_SECONDS = 0.01
_LOCK = 7_261_977
_KEY_BYTES = 32
_CHECKED_BYTES = 2**28
"""A larger file is not read as a whole at each start: that takes seconds per gigabyte."""

_PRIMARY_CODE = 0xFF
"""Mask of SQLite's extended error codes."""

_KINDS = "use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


class LedgerError(Exception):
    """The ledger cannot be used; the message says what to do."""


class LedgerDown(Exception):  # noqa: N818 - reads as what it says
    """The ledger cannot be reached now."""


def connect(url: str) -> Engine:
    """An engine for a database URL; it connects at its first use. Parameters are named.

    Raises:
        LedgerError: the URL is invalid, or its driver is not installed.
    """
    try:
        kind = make_url(url).get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise LedgerError(f"the ledger cannot be kept in {kind}: {_KINDS}")
        # psycopg gives bytes for the texts of a database without an encoding (SQL_ASCII)
        options = {"paramstyle": "named"} if kind == "sqlite" else {"client_encoding": "utf8"}
        engine = create_engine(url, pool_pre_ping=True, json_serializer=to_json, **options)
    except (ArgumentError, ValueError) as error:
        raise LedgerError(f"the ledger is not a database URL: {_KINDS}") from error
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"the driver {error.name} of this ledger is not installed: "
            "pip install 'tops-server[postgres]'"
        ) from error
    if engine.dialect.name == "sqlite":
        if engine.url.database in (None, "", ":memory:"):
            raise LedgerError(f"the ledger {url} names no file: {_KINDS}")
        if Path(engine.url.database).is_dir():
            raise LedgerError(f"the ledger {url} is a folder: name a file within it")
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def require_file(engine: Engine) -> None:
    """Raise LedgerError where a SQLite ledger does not exist yet."""
    database = engine.url.database
    if engine.dialect.name == "sqlite" and not Path(str(database)).exists():
        raise LedgerError(f"there is no ledger {database}: name that of tops serve with --ledger")


def to_json(value: object) -> str:
    """JSON text of a column that is neither a number nor a name."""
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_SECONDS}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _write_ahead(cursor: DBAPICursor) -> None:
    """Switch to the write-ahead log; SQLite's busy time-out does not cover a new file's switch."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def prepare(engine: Engine) -> None:
    """Create the tables, or migrate them to this version; gateways that start together take turns.

    Raises:
        LedgerDown: it cannot be reached now.
        LedgerError: it is damaged or not a database, or a newer version has written it.
    """
    from alembic import command  # noqa: PLC0415 - 0.15 s, which no other start needs
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with using(engine), _alone(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _check_tables(connection)
    except CommandError as error:
        newest = ScriptDirectory.from_config(config).get_current_head()
        raise LedgerError(
            f"the ledger {_name(engine)} was written by a newer version (this one knows up to "
            f"{newest}): upgrade this gateway, or name another ledger ({error})"
        ) from error


@contextmanager
def using(engine: Engine) -> Generator[None]:
    """Translate the database's errors into LedgerDown and LedgerError."""
    try:
        yield
    except DBAPIError as error:
        if is_down(error):
            raise LedgerDown(
                f"the ledger {_name(engine)} cannot be opened: {error.orig}"
            ) from error
        raise _damaged(engine, str(error.orig)) from error


def is_down(error: DBAPIError) -> bool:
    """Whether the same may work later; else the database is damaged, or none of ours."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(error, OperationalError) and (
        code is None or code & _PRIMARY_CODE != sqlite3.SQLITE_ERROR
    )


def _damaged(engine: Engine, cause: str) -> LedgerError:
    advice = "name another database, or restore this one from a backup"
    if engine.dialect.name == "sqlite":
        advice = (
            "move it away, and a new one is created "
            f"(`sqlite3 {engine.url.database} .recover` may save its rows)"
        )
    return LedgerError(f"the ledger {_name(engine)} is damaged or not a ledger ({cause}): {advice}")


def _name(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


@contextmanager
def _alone(engine: Engine) -> Generator[Connection]:
    """A transaction that excludes all others that migrate."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection
        return
    # autocommit, since the driver begins no transaction before a CREATE TABLE
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if Path(str(engine.url.database)).stat().st_size <= _CHECKED_BYTES:
            problems = connection.execute(text("PRAGMA quick_check(1)")).scalars().all()
            if problems != ["ok"]:
                raise _damaged(engine, "; ".join(map(str, problems)))
        connection.execute(text("BEGIN IMMEDIATE"))
        try:
            yield connection
        except BaseException:
            connection.execute(text("ROLLBACK"))
            raise
        connection.execute(text("COMMIT"))


def _check_tables(connection: Connection) -> None:
    """Compare the tables with those of this version: somebody may have dropped or renamed one."""
    inspector = inspect(connection)
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name):
            raise _damaged(connection.engine, f"it has no table {table.name}")
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        missing = ", ".join(sorted(set(table.columns.keys()) - columns))
        if missing:
            raise _damaged(connection.engine, f"its table {table.name} lacks {missing}")


def shared_key(engine: Engine, preferred: bytes | None = None) -> bytes:
    """The key of the conversations' hashes; the first gateway on the database stores it.

    Args:
        engine: the database's, with tables.
        preferred: what is stored if there is none yet; None: a new random key.

    Raises:
        LedgerDown: it cannot be reached now.
        LedgerError: it is damaged.
    """
    find = select(secret.c.value).where(secret.c.name == "conversations")
    with using(engine):
        with engine.connect() as connection:
            stored = connection.execute(find).scalar()
        if stored is None:
            key = preferred or secrets.token_bytes(_KEY_BYTES)
            with suppress(IntegrityError), engine.begin() as connection:  # unless another is first
                connection.execute(insert(secret).values(name="conversations", value=key.hex()))
            with engine.connect() as connection:
                stored = connection.execute(find).scalar_one()
    try:
        key = bytes.fromhex(stored)
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES // 2:
        raise _damaged(engine, "its secret key is unreadable")
    return key
