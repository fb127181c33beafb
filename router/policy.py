"""The decision rule: from an estimate to an effort, and why.

One rule for every mode: the effort of the most P(correct) - price x tokens. The modes differ in
who sets the price: a certified promise about accuracy, the operator, or a target of mean tokens.
For a bound on mean accuracy this rule spends the fewest tokens (it is the Lagrangian of that
problem), where "cheapest within epsilon of the best" pays epsilon also for savings of a few tokens.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.estimate import Estimate

Mode = Literal["quality", "price", "budget", "fixed"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants.

    quality: lose at most `max_loss` accuracy (0.01 = one point) against the baseline effort.
    price: `price` is the accuracy that 1,000 thinking tokens are worth. budget: spend `tokens`
    thinking tokens a request on average, as well as they go. fixed: always `effort`.
    `surcharge` is what load adds to the price, in every mode but fixed.
    """

    mode: Mode = "quality"
    max_loss: float = 0.01
    price: float = 0.0
    tokens: float | None = None
    effort: str | None = None
    surcharge: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ("quality", "price", "budget", "fixed"):
            raise ValueError(f"policy mode {self.mode!r} is not quality, price, budget or fixed")
        if not 0 <= self.max_loss <= 1:
            raise ValueError(f"max_loss is a share of accuracy from 0 to 1, not {self.max_loss}")
        if not 0 <= self.price < float("inf"):
            raise ValueError(f"price is accuracy per 1,000 tokens, 0 or more, not {self.price}")
        if self.mode == "budget" and (self.tokens is None or not self.tokens > 0):
            raise ValueError("policy mode budget needs the mean tokens of a request, above 0")
        if self.mode == "fixed" and self.effort is None:
            raise ValueError("policy mode fixed needs an effort")


@dataclass(frozen=True, slots=True)
class Step:
    """What a price came to on held-out outcomes: mean accuracy and mean tokens of a request."""

    price: float
    accuracy: float
    tokens: float


@dataclass(frozen=True)
class Prices:
    """The prices that a fit stands for.

    `certified`: (loss, price) by rising loss: the highest price certified to cost at most that
    accuracy, or None. `frontier`: what each price came to, by rising price.
    """

    certified: tuple[tuple[float, float | None], ...]
    frontier: tuple[Step, ...]

    def of(self, policy: Policy) -> float | None:
        """The price that the policy works at; None where nothing certifies one.

        For a mode other than fixed. `quality` takes the largest tabled loss within `max_loss`;
        `budget` the lowest price that meets the target, else the highest.
        """
        price = self._before_load(policy)
        return None if price is None else price + policy.surcharge

    def _before_load(self, policy: Policy) -> float | None:
        if policy.mode == "price":
            return policy.price
        if policy.mode == "budget" and policy.tokens is not None:
            met = [step.price for step in self.frontier if step.tokens <= policy.tokens]
            return min(met, default=self.frontier[-1].price)
        place = bisect_right([loss for loss, _ in self.certified], policy.max_loss + 1e-12)
        return self.certified[place - 1][1] if place else None


def choose(estimate: Estimate, price: float, efforts: Sequence[str]) -> str:
    """The effort of the best worth for one prompt among `efforts` (cheapest first, not empty)."""
    p, tokens = estimate.p_correct, estimate.tokens
    return max(efforts, key=lambda effort: p[effort] - price * tokens[effort] / 1000)


def choose_rows(
    p: NDArray[np.float64], tokens: NDArray[np.float64], price: float
) -> NDArray[np.intp]:
    """The same rule for many prompts at once: (N, E) estimates to (N,) effort indices."""
    return (p - price * tokens / 1000).argmax(axis=1)


def explain(estimate: Estimate, price: float, efforts: Sequence[str], chosen: str) -> str:
    """The sentence that says why `chosen` won, against the most accurate other effort."""
    p, tokens = estimate.p_correct, estimate.tokens
    told = f"{chosen}: P(correct) {p[chosen]:.3f} for {tokens[chosen]:.0f} thinking tokens"
    others = [effort for effort in efforts if effort != chosen]
    if not others:
        return told
    other = max(others, key=lambda effort: p[effort])
    return f"{told}; {other}: {p[other]:.3f} for {tokens[other]:.0f}; 1,000 are worth {price:.3g}"
