"""The ledger's tables; connects to a database and migrates it to this version."""

import secrets
from pathlib import Path

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError

_BUSY_SECONDS = 5
_LOCK = 7_261_977

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("request_id", String(128), nullable=False, index=True),
    Column("at", Float, nullable=False, index=True),
    Column("model", String(256), nullable=False),
    Column("key", String(64), nullable=False),
    Column("conversation", String(32)),
    Column("arm", String(8)),
    Column("p_treated", Float),
    Column("p_holdout", Float),
    Column("p_explore", Float),
    Column("effort", String(8), nullable=False),
    Column("source", String(8), nullable=False),
    Column("routed", String(8)),
    Column("pinned", Boolean),
    Column("baseline", String(8), nullable=False),
    Column("calibrated", Boolean, nullable=False),
    Column("features", Integer, nullable=False),
    Column("baseline_tokens", Float),
    Column("baseline_p_correct", Float),
    Column("p_correct", JSON),
    Column("expected_tokens", JSON),
    Column("budget", Integer),
    Column("budget_hit", Boolean),
    Column("choices", Integer, nullable=False),
    Column("prompt_tokens", Integer),
    Column("thinking_tokens", Integer),
    Column("answer_tokens", Integer),
    Column("ttft_seconds", Float),
    Column("seconds", Float, nullable=False),
    Column("status", Integer, nullable=False),
    Column("abstained", String(256)),
    Column("reason", String(512), nullable=False),
    Column("score", Float),
    Column("scored_at", Float),
)
"""`at` is in Unix seconds. `p_explore` is the probability of each effort to be drawn for itself.
`routed` is what the router's arm gets, `pinned` whether an earlier turn decided that (null where an
older version wrote the row). `baseline_tokens` are the thinking tokens expected at the baseline
effort, of all choices like the counted ones; `expected_tokens` those per effort, of one choice.
`score` is feedback, 0 to 1."""

secret = Table(
    "secret",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(128), nullable=False),
)
"""Shared by the gateways on one ledger: the key of the conversations' hashes."""


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
        named = {"paramstyle": "named"} if url.startswith("sqlite") else {}
        engine = create_engine(url, pool_pre_ping=True, json_serializer=to_json, **named)
    except (ArgumentError, ValueError) as error:
        raise LedgerError(
            "the ledger is not a database URL: use sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/NAME"
        ) from error
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"the driver {error.name} of this ledger is not installed: "
            "pip install 'tops-server[postgres]'"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def to_json(value: object) -> str:
    """JSON text of a column that is neither a number nor a name."""
    return orjson.dumps(value).decode()


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_SECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def prepare(engine: Engine) -> None:
    """Create the tables, or migrate them to this version.

    Raises:
        LedgerDown: it cannot be reached now.
        LedgerError: it is not a database, or a newer version has written it.
    """
    from alembic import command  # noqa: PLC0415 - 0.15 s, which no other start needs
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    where = engine.url.render_as_string(hide_password=True)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.execute(text("PRAGMA quick_check(1)")).all()
            elif engine.dialect.name == "postgresql":  # one migration at a time
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        newest = ScriptDirectory.from_config(config).get_current_head()
        raise LedgerError(
            f"the ledger {where} was written by a newer version (this one knows up to {newest}): "
            f"upgrade this gateway, or name another ledger ({error})"
        ) from error
    except OperationalError as error:
        raise LedgerDown(f"the ledger {where} cannot be opened: {error.orig}") from error
    except DatabaseError as error:
        raise LedgerError(
            f"the ledger {where} is damaged or not a database ({error.orig}): move it away, and a "
            "new one is created"
        ) from error


def shared_key(engine: Engine) -> bytes:
    """The key of the conversations' hashes; the first gateway on the database creates it."""
    find = select(secret.c.value).where(secret.c.name == "conversations")
    with engine.connect() as connection:
        stored = connection.execute(find).scalar()
    if stored is None:
        try:
            with engine.begin() as connection:
                connection.execute(
                    insert(secret).values(name="conversations", value=secrets.token_hex(32))
                )
        except IntegrityError:  # another gateway was first
            pass
        with engine.connect() as connection:
            stored = connection.execute(find).scalar_one()
    return bytes.fromhex(stored)
