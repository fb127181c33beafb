"""What the operator is told of a store of limits that does not answer."""

import asyncio

import pytest
from structlog.testing import capture_logs

from server.config.api_key_settings import Limit
from server.errors import LimitsUnavailable
from server.limits.store import Demand
from server.limits.valkey import ValkeyStore
from server.observe.metrics import Metrics

LIMIT = Limit("requests_per_minute", "requests", 3, 60)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:secret@127.0.0.1:1/2", "127.0.0.1:1"),
        ("unix:///no/such.sock", "/no/such.sock"),
    ],
)
def test_the_warning_names_the_store_and_the_cause_without_the_password(
    url: str, address: str
) -> None:
    async def run() -> None:
        store = ValkeyStore(url, None, Metrics())
        with pytest.raises(LimitsUnavailable):
            await store.take("key", [Demand(LIMIT, 1)])
        await store.close()

    with capture_logs() as logs:
        asyncio.run(run())
    assert logs[0]["store"] == address
    assert logs[0]["error"].startswith("ConnectionError: Error ")
    assert "secret" not in str(logs)
