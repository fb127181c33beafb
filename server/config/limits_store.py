"""Checks the setting `limits_store` before the gateway starts."""

from importlib.util import find_spec

from server.config.load_settings import SettingsError
from server.config.settings import Settings


def check_limits_store(settings: Settings) -> None:
    """Check that the client of the shared store is installed.

    Raises:
        SettingsError: it is not.
    """
    if settings.limits_store is not None and find_spec("redis") is None:
        raise SettingsError(
            "limits_store needs a client of Valkey and Redis: pip install 'tops-server[limits]'"
        )
