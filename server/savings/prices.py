"""What requests cost: prices of tokens, per model, times the ledger's counts.

Money is linear in the counts that the ledger sums, so figures of any groups add up to the total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.config.price_settings import ANY_MODEL, PriceSettings
from server.savings.sample import Array

PRICED = (
    "prompt_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens", "answer_tokens",
    "unsplit_tokens",
)  # fmt: skip
"""Columns of the ledger. Cached tokens and those written to a cache are among the prompt's."""

Rates = Mapping[str, float]
"""Money per token of each column in PRICED."""

_FREE: Rates = dict.fromkeys(PRICED, 0.0)


@dataclass(frozen=True)
class Prices:
    """Rates by model, and those of all others; None where they have no price."""

    by_model: Mapping[str, Rates]
    others: Rates | None = None

    @classmethod
    def of(cls, tables: Sequence[PriceSettings], completion_price: float | None) -> "Prices | None":
        """The prices of the settings; None where they have none.

        Args:
            tables: prices per million tokens.
            completion_price: of a million completion tokens of models that have no table, whose
                prompts cost nothing.
        """
        by_model = {table.model: _rates(table) for table in tables}
        others = by_model.pop(ANY_MODEL, None)
        if others is None and completion_price is not None:
            price = PriceSettings(model=ANY_MODEL, input=0.0, answer=completion_price)
            others = _rates(price)
        return cls(by_model, others) if by_model or others is not None else None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that cost something."""
        rates = (*self.by_model.values(), self.others or _FREE)
        return tuple(name for name in PRICED if any(rate[name] for rate in rates))

    def rates(self, model: str) -> Rates:
        """Of one model; zeros where it has no price."""
        return self.by_model.get(model, self.others or _FREE)

    def knows(self, model: str) -> bool:
        """Whether the model has a price."""
        return model in self.by_model or self.others is not None

    def rate(self, column: str, models: NDArray[Any]) -> Array:
        """Money per token of a column, by the models of requests (N,)."""
        rates = {model: self.rates(model)[column] for model in {*models.tolist()}}
        return np.array([rates[model] for model in models.tolist()], dtype=float)


def _rates(table: PriceSettings) -> Rates:
    cached = table.input if table.cached_input is None else table.cached_input
    written = table.input if table.cache_write is None else table.cache_write
    thinking = table.answer if table.thinking is None else table.thinking
    per_million = (
        table.input, cached - table.input, written - table.input, thinking, table.answer,
        table.answer,
    )  # fmt: skip
    return {name: price / 1e6 for name, price in zip(PRICED, per_million, strict=True)}
