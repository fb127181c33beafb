"""The decision rule: from an estimate to an effort, and a sentence that explains it.

Every mode takes the effort with the highest utility, P(correct) - price x tokens / 1,000. The modes
differ in what sets the price: a certified bound on the loss of accuracy, the operator, or a target
of mean tokens. For a bound on mean accuracy this rule spends the fewest tokens: it is the
Lagrangian of that problem. "The cheapest effort within epsilon of the best" would give up epsilon
even where that saves only a few tokens.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router.arrays import Array, Index
from router.estimate import Estimate

Mode = Literal["quality", "price", "budget", "fixed"]
_ROUNDING = 1e-12
_HOPELESS_SHARE = 1 / 3
"""Of the accuracy of the best fixed effort: where no effort has this P(correct), all are hopeless.
On public logs this holds for 0 to 4 % of the problems; half of the accuracy would be the level of
guessing between four options."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator asks for. Raises ValueError for a value outside its range.

    quality: lose at most `max_loss` accuracy (0.01 = one point) against the baseline effort.
    price: one `price` for all requests, in P(correct) per 1,000 thinking tokens. budget: spend at
    most `tokens` thinking tokens per request on average, for the highest accuracy. fixed: always
    `effort`. `surcharge` is the price that load adds, in every mode but fixed.
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
            raise ValueError("policy mode budget needs the mean tokens per request, above 0")
        if self.mode == "fixed" and self.effort is None:
            raise ValueError("policy mode fixed needs an effort")


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """Mean accuracy and mean tokens per request at one price, on held-out outcomes."""

    price: float
    accuracy: float
    tokens: float


@dataclass(frozen=True)
class Prices:
    """The prices of a fit, in P(correct) per 1,000 thinking tokens.

    `certified`: (loss, price) by rising loss: the highest price that is certified to lose at most
    that much accuracy, or None. `frontier`: the measured points, by rising price, not empty.
    `hopeless`: the P(correct) below which an effort does not count as a chance.
    """

    certified: tuple[tuple[float, float | None], ...]
    frontier: tuple[FrontierPoint, ...]
    hopeless: float = 0.0

    def price_for(self, policy: Policy) -> float | None:
        """The price of a policy whose mode is not fixed; None where none is certified.

        `quality` takes the largest tabled loss within `max_loss`; `budget` the lowest price that
        meets the target, else the highest.
        """
        price = self._before_load(policy)
        return None if price is None else price + policy.surcharge

    def _before_load(self, policy: Policy) -> float | None:
        if policy.mode == "price":
            return policy.price
        if policy.mode == "budget" and policy.tokens is not None:
            affordable = [p.price for p in self.frontier if p.tokens <= policy.tokens]
            return min(affordable, default=self.frontier[-1].price)
        rows = bisect_right([loss for loss, _ in self.certified], policy.max_loss + _ROUNDING)
        return self.certified[rows - 1][1] if rows else None


def hopeless_below(accuracy: float) -> float:
    """`Prices.hopeless` of a fit whose best fixed effort has this mean accuracy."""
    return _HOPELESS_SHARE * accuracy


def is_hopeless(estimate: Estimate, efforts: Sequence[str], prices: Prices) -> bool:
    """Whether none of several `efforts` has a chance, so that the cheapest is no saving."""
    best = max(estimate.p_correct[effort] for effort in efforts)
    return len(efforts) > 1 and best < prices.hopeless


def choose(estimate: Estimate, price: float, efforts: Sequence[str]) -> str:
    """The effort of the highest utility among `efforts`: cheapest first, not empty.

    Of equal utilities, the first effort.
    """
    p, tokens = estimate.p_correct, estimate.tokens
    return max(efforts, key=lambda effort: p[effort] - price * tokens[effort] / 1000)


def choose_rows(p: Array, tokens: Array, price: float) -> Index:
    """`choose` for N prompts: P(correct) and tokens, both (N, E), to effort indices (N,)."""
    return (p - price * tokens / 1000).argmax(axis=1)


def explain(estimate: Estimate, price: float, efforts: Sequence[str], chosen: str) -> str:
    """The sentence that explains `chosen`, beside the most accurate of the other `efforts`."""
    p, tokens = estimate.p_correct, estimate.tokens

    def expectation(effort: str) -> str:
        return f"{effort}: P(correct) {p[effort]:.3f} for {tokens[effort]:.0f} thinking tokens"

    rivals = [effort for effort in efforts if effort != chosen]
    if not rivals:
        return expectation(chosen)
    rival = max(rivals, key=lambda effort: p[effort])
    return (
        f"{expectation(chosen)}; {expectation(rival)}; "
        f"price {price:.3g} P(correct) per 1,000 thinking tokens"
    )
