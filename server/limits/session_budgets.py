"""Admits the turns of a session within its budget, and settles what they thought."""

from collections.abc import Awaitable, Callable

from server.api_keys import Caller
from server.config.api_key_settings import Limit, Unit
from server.config.session_settings import SessionBudget
from server.errors import SessionExhausted
from server.limits.limit_headers import SESSION_HEADERS, Headers, session_headers
from server.limits.session_table import SessionTable
from server.limits.store import Demand, Store
from server.observe.metrics import Metrics

_NEVER = 2**33
"""Seconds of a span that has not ended since 1970: nothing of a session's budget refills."""

Used = Callable[[str], Awaitable[tuple[float, float] | None]]
"""Turns and thinking tokens of a conversation in the ledger; None while it cannot be read."""


class SessionCharge:
    """What one turn was charged.

    Attributes:
        remaining: thinking tokens that the session had left before it; None where not limited.
        is_over: whether the budget was reached, and the turn is to be lowered.
        reserved: thinking tokens that it was charged in advance.
    """

    def __init__(
        self,
        budgets: "SessionBudgets",
        key: str,
        limits: tuple[Limit, ...],
        left: dict[Unit, int],
        is_over: bool,
    ) -> None:
        self._budgets, self._key, self._limits = budgets, key, limits
        self._left = left
        self.reserved = 0
        self.remaining = left.get("tokens")
        self.is_over = is_over

    def reserve(self, tokens: float) -> None:
        """Charge thinking tokens that the turn is expected to take, of what remains."""
        if self.remaining is not None:
            self.reserved = max(0, min(int(tokens), self.remaining))
            self._charge("tokens", self.reserved)

    def settle(self, tokens: int, is_turn: bool) -> None:
        """Charge what was spent in the place of what was reserved.

        The turn is given back where nothing came of it.
        """
        self._charge("tokens", tokens - self.reserved)
        if not is_turn:
            self._charge("requests", -1)

    def headers(self) -> Headers:
        """What was left when the turn began, itself deducted."""
        return session_headers(self._left)

    def _charge(self, unit: str, amount: float) -> None:
        demands = [
            Demand(limit, amount, True, 0)
            for limit in self._limits
            if limit.unit == unit and amount
        ]
        if demands:
            self._budgets.store.settle(self._key, demands)


class SessionBudgets:
    """The budgets of all sessions.

    Args:
        store: of their use.
        table: where sessions that it does not know begin with what the ledger has; None for none.
        used: reads the ledger; None without one.
        metrics: counts what is refused and lowered.
    """

    def __init__(
        self, store: Store, table: SessionTable | None, used: Used | None, metrics: Metrics
    ) -> None:
        self.store = store
        self._table, self._used = table, used
        self._over_limit = metrics.over_limit

    async def admit(
        self, caller: Caller, conversation: str, is_known: bool
    ) -> SessionCharge | None:
        """Charge a turn; None where the caller's sessions have no budget.

        Args:
            caller: an API key.
            conversation: its id.
            is_known: whether the turn may continue earlier ones.

        Raises:
            SessionExhausted: the budget is reached, and such requests are refused.
            LimitsUnavailable: the store is down, and requests are to be refused then.
        """
        budget = caller.session
        limits = _limits(budget)
        if not limits:
            return None
        key = f"session:{caller.name}:{conversation}"
        if is_known and self._table is not None and self._used is not None:
            await self._seed(self._table, self._used, key, conversation)
        demands = [Demand(limit, int(limit.unit == "requests")) for limit in limits]
        store_answer = await self.store.take(key, demands)
        exceeded = store_answer.refused
        if exceeded is not None:
            self._refuse_or_lower(caller, budget, exceeded.unit)
            forced = [demand._replace(forced=True) for demand in demands]
            store_answer = await self.store.take(key, forced)
        left: dict[Unit, int] = {
            limit.unit: max(0, int(limit.most - window.current))
            for limit, window in zip(limits, store_answer.windows, strict=True)
        }
        return SessionCharge(self, key, limits, left, exceeded is not None)

    def _refuse_or_lower(self, caller: Caller, budget: SessionBudget, unit: Unit) -> None:
        """Count a turn above the budget.

        Raises:
            SessionExhausted: such turns are refused.
        """
        label = "session_turns" if unit == "requests" else "session_tokens"
        is_refused = budget.over == "refuse"
        action = "refused" if is_refused else "lowered"
        self._over_limit.labels(caller.name, label, action).inc()
        if is_refused:
            raise SessionExhausted(
                f"this session has reached the limit of key '{caller.name}', "
                f"{_amount(budget, unit)} per session: begin another conversation",
                SESSION_HEADERS[unit],
            )

    async def _seed(self, table: SessionTable, used: Used, key: str, conversation: str) -> None:
        if not table.knows(key):
            before = await used(conversation)
            if before is not None:
                table.seed(key, *before)

    async def close(self) -> None:
        """Close the store, once all is charged to it."""
        await self.store.close()


def _limits(budget: SessionBudget) -> tuple[Limit, ...]:
    limits: tuple[tuple[str, Unit, int | None], ...] = (
        ("session_turns", "requests", budget.turns),
        ("session_thinking_tokens", "tokens", budget.thinking_tokens),
    )
    return tuple(Limit(name, unit, most, _NEVER) for name, unit, most in limits if most)


def _amount(budget: SessionBudget, unit: str) -> str:
    if unit == "requests":
        return f"{budget.turns:,} turns"
    return f"{budget.thinking_tokens:,} thinking tokens"
