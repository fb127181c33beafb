"""The limits that the settings ask for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from server.config.api_key_settings import Limit
from server.config.settings import Settings
from server.limits.key_limits import KeyLimits
from server.limits.store import Store
from server.limits.table import Table, table_bytes
from server.observe.metrics import Metrics


def create_table(settings: Settings, folder: Path) -> Path:
    """A file in which the workers of one gateway share what keys have used."""
    file = folder / "limits.table"
    file.write_bytes(bytes(table_bytes(len(_limits(settings)))))
    return file


def open_limits(settings: Settings, metrics: Metrics, table: Path | None) -> KeyLimits:
    """The limits of all keys; `table` is the file of the gateway's workers, None for one."""
    local: Store = Table(_limits(settings), table)
    if settings.limits_store is None:
        return KeyLimits(local, metrics)
    from server.limits.valkey import ValkeyStore  # noqa: PLC0415 - an extra

    fallback = local if settings.limits_store_down == "allow" else None
    return KeyLimits(ValkeyStore(settings.limits_store, fallback, metrics), metrics)


def _limits(settings: Settings) -> Mapping[str, Sequence[Limit]]:
    return {key.name: key.limits for key in settings.keys if key.limits}
