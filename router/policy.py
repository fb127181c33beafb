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


def choose(
    estimate: Estimate, policy: Policy, efforts: Sequence[str], epsilon: float, baseline: str
) -> Choice:
    """The policy's effort among `efforts` (cheapest first, not empty) for one prompt.

    In mode quality: the cheapest with P(correct) within `epsilon` of the best. A negative epsilon
    is reluctance instead: any other effort must beat the `baseline` by more than that.
    """
    tokens = estimate.tokens
    if policy.mode == "price":
        p = estimate.p_correct
        best = max(efforts, key=lambda e: p[e] - policy.price * tokens[e] / 1000)
        return Choice(best, f"{best} has the best P(correct) - {policy.price:g} per 1,000 tokens")
    handicap = min(epsilon, 0.0)
    p = {e: estimate.p_correct[e] + (e != baseline) * handicap for e in efforts}
    top = max(p.values())
    best = min((e for e in efforts if p[e] >= top - max(epsilon, 0.0)), key=lambda e: tokens[e])
    if handicap < 0:
        why = f"has the best P(correct) where others must beat {baseline} by {-handicap:g}"
    else:
        why = f"is the cheapest with P(correct) {p[best]:.3f} within {epsilon:g} of the best"
    return Choice(best, f"{best} {why} {top:.3f}" if handicap == 0 else f"{best} {why}")


def choose_rows(
    p: NDArray[np.float64], tokens: NDArray[np.float64], epsilon: float, baseline: int
) -> NDArray[np.intp]:
    """The quality rule for many prompts at once: (N, E) estimates to (N,) effort indices."""
    handicap = np.full(p.shape[1], min(epsilon, 0.0))
    handicap[baseline] = 0.0
    lead = p + handicap
    good = lead >= lead.max(axis=1, keepdims=True) - max(epsilon, 0.0)
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
