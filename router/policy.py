"""The decision rule: from an estimate to an effort.

Every mode takes the effort with the highest utility, P(correct) - price x tokens / 1,000. The modes
differ in what sets the price: a certified bound on the loss of accuracy, the operator, or a target
of mean tokens. For a bound on mean accuracy this rule spends the fewest tokens: it is the
Lagrangian of that problem. "The cheapest effort within epsilon of the best" would give up epsilon
even where that saves only a few tokens. Where little is certified, a margin is added to the
baseline's P(correct): the router leaves the baseline only for a clear gain.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isinf
from typing import Literal

from router.arrays import Array, Index
from router.estimate import Estimate

Mode = Literal["quality", "price", "budget", "fixed"]
_ROUNDING = 1e-12
_HOPELESS_SHARE = 1 / 4
"""Of the accuracy of the best fixed effort: where no effort has this P(correct), all are hopeless.
It is the level of guessing between four options or less; where guessing is as good as thinking, the
cheapest effort is a saving (router/RESULTS.md)."""


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


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where the decision rule stands.

    `price`: P(correct) that 1,000 thinking tokens must gain. `margin`: P(correct) that is added to
    the baseline effort's. `bounded`: whether the router's budgets are sent. `dearer`: whether an
    effort may be chosen that is expected to take more tokens than the baseline.
    """

    price: float = 0.0
    margin: float = 0.0
    bounded: bool = True
    dearer: bool = True

    @property
    def leaves_baseline(self) -> bool:
        """Whether it can choose another effort than the baseline."""
        return not isinf(self.margin)


ALWAYS_BASELINE = OperatingPoint(margin=inf, bounded=False, dearer=False)
"""What a request gets without a router: it loses nothing, by definition."""


@dataclass(frozen=True)
class Prices:
    """The operating points of a fit.

    `certified`: (loss, point) by rising loss: the point of the fewest tokens among those that are
    certified to lose at most that much accuracy. `frontier`: the measured points without a margin,
    by rising price, not empty. `hopeless`: the P(correct) below which an effort does not count as a
    chance.
    """

    certified: tuple[tuple[float, OperatingPoint], ...]
    frontier: tuple[FrontierPoint, ...]
    hopeless: float = 0.0

    def point_for(self, policy: Policy) -> OperatingPoint:
        """The operating point of a policy whose mode is not fixed.

        `quality` takes the point of the largest tabled loss within `max_loss`; `budget` the lowest
        price that meets the target, else the highest.
        """
        point = self._before_load(policy)
        if policy.surcharge:
            return replace(point, price=point.price + policy.surcharge)
        return point

    @cached_property
    def _losses(self) -> list[float]:
        return [loss for loss, _ in self.certified]

    def _before_load(self, policy: Policy) -> OperatingPoint:
        if policy.mode == "price":
            return OperatingPoint(policy.price)
        if policy.mode == "budget" and policy.tokens is not None:
            affordable = [p.price for p in self.frontier if p.tokens <= policy.tokens]
            return OperatingPoint(min(affordable, default=self.frontier[-1].price))
        rows = bisect_right(self._losses, policy.max_loss + _ROUNDING)
        return self.certified[rows - 1][1] if rows else ALWAYS_BASELINE


def hopeless_below(accuracy: float) -> float:
    """`Prices.hopeless` of a fit whose best fixed effort has this mean accuracy."""
    return _HOPELESS_SHARE * accuracy


def is_hopeless(estimate: Estimate, efforts: Sequence[str], prices: Prices) -> bool:
    """Whether none of several `efforts` has a chance, so that the cheapest is no saving."""
    best = max(estimate.p_correct[effort] for effort in efforts)
    return len(efforts) > 1 and best < prices.hopeless


def choose(estimate: Estimate, point: OperatingPoint, efforts: Sequence[str], baseline: str) -> str:
    """The effort of the highest utility among `efforts`: cheapest first, not empty.

    Of equal utilities, the first effort. A point that is not `dearer` needs the `baseline` among
    them.
    """
    p, tokens, price = estimate.p_correct, estimate.tokens, point.price
    limit = inf if point.dearer else tokens[baseline]
    best, highest = efforts[0], -inf
    for effort in efforts:
        if tokens[effort] <= limit:
            utility = p[effort] - price * tokens[effort] / 1000
            if effort == baseline:
                utility += point.margin
            if utility > highest:
                best, highest = effort, utility
    return best


def choose_rows(p: Array, tokens: Array, price: float) -> Index:
    """`choose` without a margin for N prompts: P(correct), tokens (N, E) to effort indices (N,)."""
    return (p - price * tokens / 1000).argmax(axis=1)


def choose_rows_at(
    p: Array, tokens: Array, point: OperatingPoint, baseline: int, guard: Array | float = 0.0
) -> Index:
    """`choose` for N prompts: P(correct) and tokens, both (N, E), to effort indices (N,).

    `guard` (N,) adds to the margin.
    """
    utility = p - point.price * tokens / 1000
    utility[:, baseline] += point.margin + guard
    if not point.dearer:
        utility[tokens > tokens[:, [baseline]]] = -inf
    return utility.argmax(axis=1)
