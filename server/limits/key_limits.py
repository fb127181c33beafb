"""Admits the requests of a key within its limits, and settles what they spent."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from server.api_keys import Caller
from server.config.api_key_settings import Limit
from server.errors import RateLimited
from server.limits.limit_headers import Headers, key_headers
from server.limits.store import Demand, Store, StoreAnswer
from server.limits.window import fits, wait_seconds
from server.observe.metrics import Metrics

_LONGEST_WAIT_SECONDS = 60
"""A client that is told to wait longer had better give up: openai-python would sleep for two
minutes, whatever its time-out."""

_UNKNOWN_SHARE = 0.1
"""Of a limit, reserved for an answer of which nothing is known: the first ones of a key."""

_NEWEST_SHARE = 1 / 8
"""Weight of the newest answer in what later ones are expected to take."""


class Need(NamedTuple):
    """The thinking tokens of a request, as far as they are known in advance; each is a choice's.

    Attributes:
        effort: the effort.
        choices: answers that were requested.
        expected: by the router; None where it does not know.
        bound: the most that an answer may take; None where nothing bounds it.
    """

    effort: str
    choices: int
    expected: float | None
    bound: int | None


class Charge:
    """What one request was charged in advance; `settle` corrects it.

    Args:
        limits: of all keys.
        key: the name of the API key.
        need: what the charge was made for; None for a request that takes no thinking tokens.
        demands: what was charged.
        store_answer: the store's answer.
    """

    def __init__(
        self,
        limits: "KeyLimits",
        key: str,
        need: Need | None,
        demands: Sequence[Demand],
        store_answer: StoreAnswer,
    ) -> None:
        self._limits, self._key, self._need = limits, key, need
        self._demands, self._store_answer = demands, store_answer
        tokens = [int(each.amount) for each in demands if each.limit.unit == "tokens"]
        self.reserved = max(tokens) if tokens else None
        """Thinking tokens; None where none are limited."""

    def headers(self, is_anthropic: bool = False) -> Headers:
        """The limits, with what is left of them."""
        limits = [demand.limit for demand in self._demands]
        return key_headers(limits, self._store_answer, is_anthropic)

    def settle(self, tokens: int, is_answered: bool) -> None:
        """Charge the thinking tokens that were spent in the place of those reserved.

        Those of an answer are what later requests are expected to take.
        """
        corrections = [
            Demand(demand.limit, tokens - demand.amount, True, window.span)
            for demand, window in zip(self._demands, self._store_answer.windows, strict=True)
            if demand.limit.unit == "tokens" and tokens != demand.amount
        ]
        if corrections:
            self._limits.store.settle(self._key, corrections)
        if is_answered and self._need is not None:
            self._limits.learn(self._key, self._need, tokens)


class KeyLimits:
    """The limits of all keys.

    Args:
        store: of their use.
        metrics: counts what is refused and lowered.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.store = store
        self._over_limit = metrics.over_limit
        self._means: dict[tuple[str, str], float] = {}

    async def admit(
        self, caller: Caller, need: Need | None, is_anthropic: bool = False, lowered: bool = False
    ) -> Charge:
        """Charge a request, and the thinking tokens that it is expected to take.

        Args:
            caller: a key with limits.
            need: what to reserve; None for a request that takes no thinking tokens.
            is_anthropic: whose names the headers of a refusal have.
            lowered: whether it has been lowered, and goes on without thinking tokens left.

        Raises:
            RateLimited: a limit leaves no room.
            LimitsUnavailable: the store is down, and requests are to be refused then.
        """
        demands: list[Demand] = []
        for limit in caller.limits:
            if limit.unit == "requests":
                demands.append(Demand(limit, 1))
            elif need is not None:
                demands.append(Demand(limit, self._reserve(caller.name, need, limit), lowered))
        if not demands:
            return Charge(self, caller.name, need, (), StoreAnswer(None, 0, ()))
        store_answer = await self.store.take(caller.name, demands)
        if store_answer.refused is not None:
            raise self._refusal(caller, demands, store_answer, is_anthropic)
        if lowered:
            self._over_limit.labels(caller.name, "tokens", "lowered").inc()
        return Charge(self, caller.name, need, demands, store_answer)

    def learn(self, key: str, need: Need, tokens: int) -> None:
        """Note what an answer took, for requests of which the router expects nothing."""
        tokens_per_choice = tokens / need.choices
        mean = self._means.get((key, need.effort), tokens_per_choice)
        mean += _NEWEST_SHARE * (tokens_per_choice - mean)
        self._means[key, need.effort] = mean

    async def close(self) -> None:
        """Close the store, once all is charged to it."""
        await self.store.close()

    def _reserve(self, key: str, need: Need, limit: Limit) -> int:
        """Thinking tokens to reserve: no more than the limit ever has room for."""
        expected = need.expected
        if expected is None:
            expected = self._means.get((key, need.effort), _UNKNOWN_SHARE * limit.most)
        if need.bound is not None:
            expected = min(expected, need.bound)
        return min(ceil(need.choices * expected), limit.most)

    def _refusal(
        self,
        caller: Caller,
        demands: Sequence[Demand],
        store_answer: StoreAnswer,
        is_anthropic: bool,
    ) -> RateLimited:
        limit = store_answer.refused
        assert limit is not None
        seconds = max(
            wait_seconds(window, demand.limit, store_answer.now, demand.amount)
            for demand, window in zip(demands, store_answer.windows, strict=True)
            if not demand.forced and not fits(window, demand.limit, store_answer.now, demand.amount)
        )
        self._over_limit.labels(caller.name, limit.unit, "refused").inc()
        headers = key_headers([demand.limit for demand in demands], store_answer, is_anthropic)
        return RateLimited(
            f"key '{caller.name}' has reached its limit of {limit}",
            limit.unit,
            max(1, ceil(seconds)),
            {name.decode(): value.decode() for name, value in headers},
            seconds <= _LONGEST_WAIT_SECONDS,
        )
