"""The limits that the settings ask for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from server.config.api_key_settings import Limit
from server.config.settings import Settings
from server.limits.key_limits import KeyLimits
from server.limits.key_table import KeyTable, table_bytes
from server.limits.session_budgets import SessionBudgets, Used
from server.limits.session_table import TABLE_BYTES, SessionTable
from server.limits.store import Store
from server.observe.metrics import Metrics


def create_key_table(settings: Settings, folder: Path) -> Path:
    """A file in which the workers of one gateway share what keys have used."""
    file = folder / "limits.table"
    file.write_bytes(bytes(table_bytes(len(_limits(settings)))))
    return file


def create_session_table(settings: Settings, folder: Path) -> Path:
    """A file in which the workers of one gateway share what sessions have used."""
    file = folder / "sessions.table"
    file.write_bytes(bytes(TABLE_BYTES if has_session_budgets(settings) else 0))
    return file


def has_session_budgets(settings: Settings) -> bool:
    """Whether any sessions have a budget."""
    budgets = [settings.session, *(key.session(settings.session) for key in settings.keys)]
    return any(budget.turns or budget.thinking_tokens for budget in budgets)


def open_session_budgets(
    settings: Settings, metrics: Metrics, file: Path | None, used: Used | None
) -> SessionBudgets | None:
    """The budgets of sessions; None where no key has any.

    Args:
        settings: the gateway's.
        metrics: count what is refused.
        file: of the gateway's workers, by `create_session_table`; None for one.
        used: reads the ledger; None without one.
    """
    if not has_session_budgets(settings):
        return None
    table = SessionTable(file)
    if settings.limits_store is None:
        return SessionBudgets(table, table, used, metrics)
    from server.limits.valkey import ValkeyStore  # noqa: PLC0415 - an extra

    fallback = table if settings.limits_store_down == "allow" else None
    store = ValkeyStore(settings.limits_store, fallback, metrics)
    return SessionBudgets(store, None, None, metrics)


def open_limits(settings: Settings, metrics: Metrics, table: Path | None) -> KeyLimits:
    """The limits of all keys; `table` is the file of the gateway's workers, None for one."""
    local: Store = KeyTable(_limits(settings), table)
    if settings.limits_store is None:
        return KeyLimits(local, metrics)
    from server.limits.valkey import ValkeyStore  # noqa: PLC0415 - an extra

    fallback = local if settings.limits_store_down == "allow" else None
    return KeyLimits(ValkeyStore(settings.limits_store, fallback, metrics), metrics)


def _limits(settings: Settings) -> Mapping[str, Sequence[Limit]]:
    return {key.name: key.limits for key in settings.keys if key.limits}
