"""Opens the ledger that the settings name."""

import secrets

import structlog

from server.config.settings import Settings
from server.ledger.schema import LedgerDown, LedgerError, connect, prepare, shared_key
from server.ledger.writer import Ledger
from server.observe.metrics import Metrics

log = structlog.get_logger(__name__)


def open_ledger(
    settings: Settings, metrics: Metrics, preferred: bytes | None = None
) -> tuple[Ledger | None, bytes]:
    """The ledger, or None if the settings name none, and the key of the conversations' hashes.

    The gateway starts even if the database is down: rows wait in memory, and the key is random
    until the ledger can be read; see `Ledger.on_key`.

    Args:
        settings: name the ledger, and may have the key.
        metrics: count the rows.
        preferred: the key where nothing else has one; None: a random one.

    Raises:
        LedgerError: the ledger cannot be used as it is; the message says what to do.
    """
    secret = settings.hash_key
    key = secret.get_secret_value().encode() if secret else None
    preferred = preferred or secrets.token_bytes(32)
    if not settings.ledger:
        return None, key or preferred
    engine = connect(settings.ledger)
    prepared = False
    try:
        prepare(engine)
        if key is None:
            preferred = shared_key(engine, preferred)
        prepared = True
    except LedgerDown as error:
        log.warning("the ledger is down; rows wait in memory", error=str(error))
    except LedgerError:
        engine.dispose()
        raise
    ledger = Ledger(
        engine,
        metrics.ledger_rows,
        metrics.ledger_lost,
        settings.ledger_retention_days,
        prepared,
        None if key else preferred,
    )
    return ledger, key or preferred
