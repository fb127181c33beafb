"""The use of limits in Valkey or Redis, which all gateways that name it share.

One script call per charge, whatever the number of a key's limits. The library `limits` was looked
at instead (5.8): it takes a call per limit, so that a refused request is charged to some of them,
and gives nothing back, which thinking tokens need.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.errors import LimitsUnavailable
from server.limits.store import Demand, Store, StoreAnswer
from server.limits.window import Window
from server.observe.backoff import Backoff
from server.observe.metrics import Metrics

_SCRIPT = Path(__file__).with_name("charge.lua")
_TIMEOUT_SECONDS = 1.0
_RETRY_SECONDS = 5.0
"""No request waits for a store that did not answer, for so long."""
_CLOSING_SECONDS = 1.0
_CONNECTIONS = 16
_WARNING_SECONDS = 10.0
_MAX_WARNING_SECONDS = 600.0

log = structlog.get_logger(__name__)


class ValkeyStore:
    """The store.

    Args:
        url: redis://, rediss:// (TLS) or unix://; the same with valkey.
        fallback: holds the limits while the server is down; None refuses requests.
        metrics: counts failures.
        prefix: of the keys in the store.
    """

    def __init__(
        self, url: str, fallback: Store | None, metrics: Metrics, prefix: str = "tops:limits:"
    ) -> None:
        from_url = cast("Any", ConnectionPool).from_url
        pool = from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            max_connections=_CONNECTIONS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = cast("Any", Redis.from_pool(pool))
        self._script = self._client.register_script(_SCRIPT.read_text(encoding="utf-8"))
        self._fallback = fallback
        self._failures = metrics.limits_store_failures
        self._up = metrics.limits_store_up
        self._prefix = prefix
        parts = urlsplit(url)
        self._address = parts.netloc.rpartition("@")[2] or parts.path  # without the password
        self._now: Callable[[], float] | None = None
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._down_until = 0.0
        self._warning = Backoff(0.0, _WARNING_SECONDS, _MAX_WARNING_SECONDS)
        self._settling: set[asyncio.Task[StoreAnswer | None]] = set()

    async def take(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        """Charge all of the demands to a key, or none where one does not fit.

        Raises:
            LimitsUnavailable: the server is down, and there is no fallback.
        """
        if self._may_answer() and (charge := await self._call(key, demands)) is not None:
            return charge
        if self._fallback is None:
            raise LimitsUnavailable
        return await self._fallback.take(key, demands)

    def settle(self, key: str, demands: Sequence[Demand]) -> None:
        task = asyncio.create_task(self._call(key, demands))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Wait for what is being settled, a second at most, and close the connections."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=_CLOSING_SECONDS)
        await self._client.aclose()
        await self._client.connection_pool.aclose()

    def _may_answer(self) -> bool:
        return time.monotonic() >= self._down_until

    async def _call(self, key: str, demands: Sequence[Demand]) -> StoreAnswer | None:
        """What the store answers, once a connection is free; None where it does not answer.

        A request that waits for its turn is no failure of the store, and does not wait any longer
        once the store has failed others.
        """
        async with self._free:
            if not self._may_answer():
                return None
            try:
                charge = await self._charge(key, demands)
            except (RedisError, OSError, TimeoutError) as error:
                self._note_failure(error)
                return None
            self._note_success()
            return charge

    async def _charge(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        arguments: list[Any] = ["" if self._now is None else self._now()]
        for demand in demands:
            limit, span = demand.limit, demand.span
            arguments += (limit.name, limit.seconds, limit.most, demand.amount, int(demand.forced))
            arguments.append("" if span is None else span)
        answer: list[Any] = await self._script(keys=[self._prefix + key], args=arguments)
        refused, now, numbers = int(answer[0]), float(answer[1]), answer[2:]
        windows = tuple(
            Window(int(numbers[at]), float(numbers[at + 1]), float(numbers[at + 2]))
            for at in range(0, len(numbers), 3)
        )
        return StoreAnswer(demands[refused - 1].limit if refused else None, now, windows)

    def _note_failure(self, error: Exception) -> None:
        self._down_until = time.monotonic() + _RETRY_SECONDS
        self._failures.inc()
        self._up.set(0)
        if self._warning.due():
            log.warning(
                "the store of limits does not answer: "
                + (
                    "requests of keys with limits are refused"
                    if self._fallback is None
                    else "each gateway counts by itself meanwhile"
                ),
                store=self._address,
                error=f"{type(error).__name__}: {error}",
            )

    def _note_success(self) -> None:
        self._up.set(1)
        self._warning.reset()
