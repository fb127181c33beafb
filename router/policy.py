"""The decision rule: from an estimate to an effort, and why.

The only place where accuracy is traded for tokens. How large the trade may be (`epsilon`) was
calibrated on held-out outcomes by `router.calibration`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.estimate import Estimate

Mode = Literal["quality", "price", "fixed"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants.

    quality: lose at most `max_loss` accuracy (0.01 = one point) against the baseline effort.
    price: `price` is the accuracy that 1,000 thinking tokens are worth. fixed: always `effort`.
    """

    mode: Mode = "quality"
    max_loss: float = 0.01
    price: float = 0.0
    effort: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("quality", "price", "fixed"):
            raise ValueError(f"policy mode {self.mode!r} is not quality, price or fixed")
        if not 0 <= self.max_loss <= 1:
            raise ValueError(f"max_loss is a share of accuracy from 0 to 1, not {self.max_loss}")
        if not 0 <= self.price < float("inf"):
            raise ValueError(f"price is accuracy per 1,000 tokens, 0 or more, not {self.price}")
        if self.mode == "fixed" and self.effort is None:
            raise ValueError("policy mode fixed needs an effort")


@dataclass(frozen=True, slots=True)
class Choice:
    """An effort and a sentence that says why."""

    effort: str
    reason: str


def choose(estimate: Estimate, policy: Policy, efforts: Sequence[str], epsilon: float) -> Choice:
    """The policy's effort among `efforts` (cheapest first, not empty) for one prompt."""
    p = estimate.p_correct
    tokens = estimate.tokens
    if policy.mode == "price":
        best = max(efforts, key=lambda e: p[e] - policy.price * tokens[e] / 1000)
        return Choice(best, f"{best} has the best P(correct) - {policy.price:g} per 1,000 tokens")
    top = max(p[e] for e in efforts)
    good = [e for e in efforts if p[e] >= top - epsilon]
    best = min(good, key=lambda e: tokens[e])
    return Choice(
        best,
        f"{best} is the cheapest with P(correct) {p[best]:.3f} within {epsilon:.3f} "
        f"of the best {top:.3f}",
    )


def choose_rows(
    p: NDArray[np.float64], tokens: NDArray[np.float64], epsilon: float
) -> NDArray[np.intp]:
    """The quality rule for many prompts at once: (N, E) estimates to (N,) effort indices."""
    good = p >= p.max(axis=1, keepdims=True) - epsilon
    return np.where(good, tokens, np.inf).argmin(axis=1)


def price_rows(
    p: NDArray[np.float64], tokens: NDArray[np.float64], price: float
) -> NDArray[np.intp]:
    """The price rule for many prompts at once."""
    return (p - price * tokens / 1000).argmax(axis=1)


def certified_epsilon(table: Mapping[float, float | None], max_loss: float) -> float | None:
    """The epsilon certified for the largest tabled loss within `max_loss`, if any."""
    within = [loss for loss in table if loss <= max_loss + 1e-12]
    return table[max(within)] if within else None
