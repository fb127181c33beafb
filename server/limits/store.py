"""What a store of limits is asked, and what it answers."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from server.config.api_key_settings import Limit
from server.limits.window import Window


class Demand(NamedTuple):
    """An amount to be charged to one limit of a key.

    Attributes:
        limit: the limit.
        amount: requests or thinking tokens; negative to give them back.
        forced: charge it whether or not it fits.
        span: from which it is given back.
    """

    limit: Limit
    amount: float
    forced: bool = False
    span: int | None = None


class StoreAnswer(NamedTuple):
    """The answer: all of the demands were charged, or none.

    Attributes:
        refused: the limit that left no room, the earliest in the demands' order; None if charged.
        now: the store's time, in Unix seconds.
        windows: of the limits, in the demands' order.
    """

    refused: Limit | None
    now: float
    windows: tuple[Window, ...]


class Store(Protocol):
    """The use of all keys' limits; each call is atomic."""

    async def take(self, key: str, demands: Sequence[Demand]) -> StoreAnswer:
        """Charge all of the demands to a key, or none where one does not fit."""
        ...

    def settle(self, key: str, demands: Sequence[Demand]) -> None:
        """Charge forced demands; returns at once."""
        ...

    async def close(self) -> None:
        """Wait for the charges of `settle`, and release what the store holds."""
        ...
