"""What all requests cost, by group and by kind of token: sums that add up in any order."""

from typing import Any

import numpy as np

from server.ledger.totals import Totals
from server.savings.prices import PRICED, Prices
from server.savings.sample import Array

GROUPS = ("model", "key", "kind", "effort", "arm")


def spending(totals: Totals, prices: Prices) -> dict[str, Any]:
    """The money of all requests, answered or not, as one JSON object.

    `by` has a sum per group and kind of group. `tokens` has the counts that were paid, and `money`
    what each kind of token cost.
    """
    columns = totals.columns
    models = columns["model"]
    parts = _parts(totals, prices)
    money = np.add.reduce(list(parts.values())) if parts else np.zeros(len(models))
    unpriced = sorted({str(model) for model in models.tolist() if not prices.knows(model)})
    return {
        "total": float(money.sum()),
        "by": {group: _by(columns[group].tolist(), money) for group in GROUPS},
        "money": {name: float(part.sum()) for name, part in parts.items()},
        "tokens": {name: int(columns[name].sum()) for name in PRICED},
        "unpriced_models": unpriced,
    }


def _parts(totals: Totals, prices: Prices) -> dict[str, Array]:
    columns = totals.columns
    of_column = {
        name: prices.rate(name, columns["model"]) * columns[name] for name in prices.columns
    }

    def part(*names: str) -> Array:
        zero = np.zeros(len(columns["model"]))
        return sum((of_column.get(name, zero) for name in names), zero)

    models, cached, written = (
        columns["model"],
        columns["cached_tokens"],
        columns["cache_write_tokens"],
    )
    input_rate = prices.rate("prompt_tokens", models)
    return {
        "uncached_input": part("prompt_tokens") - input_rate * (cached + written),
        "cached_input": part("cached_tokens") + input_rate * cached,
        "cache_writes": part("cache_write_tokens") + input_rate * written,
        "thinking": part("thinking_tokens"),
        "answer": part("answer_tokens", "unsplit_tokens"),
    }


def _by(names: list[str], money: Array) -> dict[str, float]:
    sums_by_name: dict[str, float] = {}
    for name, amount in zip(names, money.tolist(), strict=True):
        sums_by_name[name or "none"] = sums_by_name.get(name or "none", 0.0) + amount
    return dict(sorted(sums_by_name.items()))
