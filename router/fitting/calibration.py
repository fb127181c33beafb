"""How far the estimates can be trusted: certified prices, ECE, Brier, intervals.

Works on held-out estimates and outcomes only; knows neither prompts nor learners.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from router.bootstrap import bootstrap_interval
from router.estimate import Array
from router.policy import Step, choose_rows

Index = NDArray[np.intp]

LOSSES: tuple[float, ...] = (0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2)
"""Accuracy losses that every artifact has an answer for."""

PRICES: tuple[float, ...] = (
    0.0,
    *(float(f"{10 ** (power / 40):.3g}") for power in range(-200, 121)),
)
"""P(correct) that 1,000 tokens are worth, from "the most accurate" to "the cheapest": the order of
testing. Five decades down, for models that think for tens of thousands of tokens."""

_IMAGINED_LOSSES = 1.0
_VARIANCES = 4.0


@dataclass(frozen=True)
class Held:
    """Held-out estimates and outcomes of N problems at E efforts, all (N, E) and complete.

    `trusted` (N,): whether the router would judge the prompt; the others get the baseline effort.
    """

    p: Array
    tokens: Array
    accuracy: Array
    spent: Array
    baseline: int
    trusted: NDArray[np.bool_]

    def chosen(self, price: float) -> Index:
        """The effort index (N,) that each problem gets."""
        return np.where(self.trusted, choose_rows(self.p, self.tokens, price), self.baseline)

    def differences(self, price: float) -> Array:
        """Accuracy of the rule at a price minus accuracy of the baseline effort, per problem."""
        rows = np.arange(len(self.p))
        return self.accuracy[rows, self.chosen(price)] - self.accuracy[:, self.baseline]

    def frontier(self) -> tuple[Step, ...]:
        """What each price comes to; prices that change nothing are left out."""
        rows = np.arange(len(self.p))
        steps: list[Step] = []
        for price in PRICES:
            chosen = self.chosen(price)
            figures = self.accuracy[rows, chosen].mean(), self.spent[rows, chosen].mean()
            step = Step(price, float(figures[0]), float(figures[1]))
            if not steps or step.tokens != steps[-1].tokens:
                steps.append(step)
        return tuple(steps)


def loss_p_value(differences: Array, max_loss: float) -> float:
    """P-value of "the mean loss on as many new problems exceeds `max_loss`".

    `differences` are paired, in [-1, 1], policy minus baseline. Normal approximation; the
    variance counts _VARIANCES times: once for these problems and once for the new ones, so that the
    promise also holds as it will be measured, and as much again because the router that is served
    was fitted once more, on all problems, than those whose differences these are (with 2 alone, 9
    of 50 halves of a log lost more than promised: router/RESULTS.md). One imagined problem
    that the policy lost keeps differences that are all zero from certifying anything (in the
    manner of Agresti & Caffo, The American Statistician 54(4), 2000).
    """
    if len(differences) == 0:
        return 1.0
    size = len(differences) + _IMAGINED_LOSSES
    mean = (float(differences.sum()) - _IMAGINED_LOSSES) / size
    square = (float((differences**2).sum()) + _IMAGINED_LOSSES) / size
    variance = max(square - mean**2, 0.0) * (size + 1) / size
    z = (mean + max_loss) / sqrt(max(_VARIANCES * variance / size, 1e-12))
    return 0.5 * erfc(z / sqrt(2.0))


def price_table(
    held: Held, losses: Sequence[float], delta: float
) -> tuple[tuple[float, float | None], ...]:
    """(loss, price) by rising loss, for `losses` and LOSSES: what `certify` gives for each."""
    differences = [held.differences(price) for price in PRICES]
    return tuple((loss, certify(differences, loss, delta)) for loss in sorted({*LOSSES, *losses}))


def certify(differences: Sequence[Array], max_loss: float, delta: float) -> float | None:
    """The highest price whose accuracy loss is at most `max_loss` with confidence 1 - `delta`.

    Learn-then-Test with fixed-sequence testing: prices in rising order, each at level `delta`,
    until the first that is not certified, so the family-wise error stays `delta`. Angelopoulos,
    Bates, Candes, Jordan & Lei, "Learn then Test", section 2.3 and appendix; arXiv 2110.01052.
    It holds for estimates that never saw these problems (here: cross-fitted ones, while the
    shipped fit has seen all of them and is taken to be no worse); None if nothing passes.

    `differences` are those of `Held.differences` at each of PRICES; each loss is certified on its
    own.
    """
    best: float | None = None
    for price, difference in zip(PRICES, differences, strict=True):
        if loss_p_value(difference, max_loss) > delta:
            return best
        best = price
    return best


def expected_calibration_error(p: Array, correct: Array, bins: int = 15) -> float:
    """ECE over bins of equal mass (Nguyen & O'Connor 2015); inputs are flat, of equal length."""
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [len(part) * abs(float(p[part].mean() - correct[part].mean())) for part in parts]
    return sum(gaps) / len(p)


def log_loss_rows(p: Array, accuracy: Array) -> Array:
    """Mean log loss per problem (N,), in nats, over its cells whose accuracy is known."""
    seen = np.isfinite(accuracy)
    chance, share = np.clip(p, 1e-9, 1 - 1e-9), np.where(seen, accuracy, 0.0)
    loss = -(share * np.log(chance) + (1 - share) * np.log(1 - chance))
    return np.where(seen, loss, 0.0).sum(axis=1) / seen.sum(axis=1)


def brier_rows(p: Array, accuracy: Array) -> Array:
    """Brier score per problem (N,): expected squared error against single judged generations."""
    return (accuracy * (1 - p) ** 2 + (1 - accuracy) * p**2).mean(axis=1)


def measure(held: Held, price: float | None) -> dict[str, object]:
    """How good held-out estimates are, and what the certified policy would have saved."""
    brier = brier_rows(held.p, held.accuracy)
    constant = np.broadcast_to(held.accuracy.mean(axis=0), held.p.shape)

    def ece(rows: Index) -> float:
        return expected_calibration_error(held.p[rows].ravel(), held.accuracy[rows].ravel())

    everything = np.arange(len(held.p))
    chosen = np.full(len(held.p), held.baseline)
    if price is not None:
        chosen = held.chosen(price)
    return {
        "problems": len(held.p),
        "ece": ece(everything),
        "ece_ci": bootstrap_interval(len(held.p), ece),
        "brier": float(brier.mean()),
        "brier_ci": bootstrap_interval(len(held.p), lambda rows: float(brier[rows].mean())),
        "brier_without_features": float(brier_rows(constant, held.accuracy).mean()),
        "log_loss": float(log_loss_rows(held.p, held.accuracy).mean()),
        "log_loss_without_features": float(log_loss_rows(constant, held.accuracy).mean()),
        "accuracy": float(held.accuracy[everything, chosen].mean()),
        "tokens": float(held.spent[everything, chosen].mean()),
        "baseline_accuracy": float(held.accuracy[:, held.baseline].mean()),
        "baseline_tokens": float(held.spent[:, held.baseline].mean()),
    }
