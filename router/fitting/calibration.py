"""Certified prices and quality metrics, from held-out estimates and outcomes only.

Knows neither prompts nor learners.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from router.arrays import Array, Index, Mask
from router.bootstrap import bootstrap_interval
from router.policy import FrontierPoint, choose_rows

LOSSES: tuple[float, ...] = (0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2)
"""Accuracy losses for which every artifact holds a certified price, or None."""

PRICES: tuple[float, ...] = (
    0.0,
    *(float(f"{10 ** (power / 40):.3g}") for power in range(-200, 121)),
)
"""Prices in P(correct) per 1,000 tokens, in the order of testing: from 0, where accuracy alone
counts, to 1,000. They begin at 1e-5, for models that think for tens of thousands of tokens."""

_PSEUDO_LOSSES = 1.0
_VARIANCE_FACTOR = 4.0


@dataclass(frozen=True)
class HeldOut:
    """Held-out estimates and outcomes of N problems at E efforts, all (N, E) without gaps.

    `p`: estimated P(correct). `tokens`: estimated thinking tokens. `accuracy`: share of correct
    generations. `spent`: their mean tokens. `baseline`: an effort index. `trusted` (N,): whether
    the router makes an estimate for the prompt; the others get the baseline effort.
    """

    p: Array
    tokens: Array
    accuracy: Array
    spent: Array
    baseline: int
    trusted: Mask

    def chosen(self, price: float) -> Index:
        """The effort index (N,) of each problem at a price."""
        return np.where(self.trusted, choose_rows(self.p, self.tokens, price), self.baseline)

    def differences(self, price: float) -> Array:
        """Accuracy at a price minus accuracy of the baseline effort, per problem (N,)."""
        rows = np.arange(len(self.p))
        return self.accuracy[rows, self.chosen(price)] - self.accuracy[:, self.baseline]

    def frontier(self) -> tuple[FrontierPoint, ...]:
        """Mean accuracy and tokens by rising price, without prices that change no tokens."""
        rows = np.arange(len(self.p))
        points: list[FrontierPoint] = []
        for price in PRICES:
            chosen = self.chosen(price)
            accuracy = float(self.accuracy[rows, chosen].mean())
            tokens = float(self.spent[rows, chosen].mean())
            if not points or tokens != points[-1].tokens:
                points.append(FrontierPoint(price, accuracy, tokens))
        return tuple(points)


def loss_p_value(differences: Array, max_loss: float) -> float:
    """P-value of the hypothesis that the mean loss on N new problems exceeds `max_loss`.

    `differences` (N,) are paired, in [-1, 1], policy minus baseline. Normal approximation. The
    variance counts _VARIANCE_FACTOR times: once for these problems, once for the new ones (the
    bound must hold as an operator measures it), and twice more because the served router is fitted
    again, on all problems, and so is not the one of these differences. With a factor of 2, 9 of 50
    halves of a log lost more than certified (router/RESULTS.md). One pseudo-observation, a problem
    that the policy loses, keeps differences that are all zero from certifying anything (after
    Agresti & Caffo, The American Statistician 54(4), 2000).
    """
    if len(differences) == 0:
        return 1.0
    size = len(differences) + _PSEUDO_LOSSES
    mean = (float(differences.sum()) - _PSEUDO_LOSSES) / size
    square = (float((differences**2).sum()) + _PSEUDO_LOSSES) / size
    variance = max(square - mean**2, 0.0) * (size + 1) / size
    z = (mean + max_loss) / sqrt(max(_VARIANCE_FACTOR * variance / size, 1e-12))
    return 0.5 * erfc(z / sqrt(2.0))


def price_table(
    held_out: HeldOut, losses: Sequence[float], delta: float
) -> tuple[tuple[float, float | None], ...]:
    """(loss, certified price or None) by rising loss, for `losses` and LOSSES."""
    differences = [held_out.differences(price) for price in PRICES]
    return tuple((loss, certify(differences, loss, delta)) for loss in sorted({*LOSSES, *losses}))


def certify(differences: Sequence[Array], max_loss: float, delta: float) -> float | None:
    """The highest price whose accuracy loss is at most `max_loss` with confidence 1 - `delta`.

    Learn-then-Test with fixed-sequence testing: prices in rising order, each at level `delta`,
    until the first that fails, so that the family-wise error is at most `delta` (Angelopoulos,
    Bates, Candes, Jordan & Lei, "Learn then Test", section 2.3 and appendix; arXiv 2110.01052).
    The test needs estimates that were fitted without these problems; cross-fitted ones stand in for
    the served fit, which used all problems and is assumed to be no worse. None if no price passes.

    `differences`: `HeldOut.differences` at each of PRICES. Each loss is certified separately.
    """
    best: float | None = None
    for price, difference in zip(PRICES, differences, strict=True):
        if loss_p_value(difference, max_loss) > delta:
            return best
        best = price
    return best


def expected_calibration_error(p: Array, correct: Array, bins: int = 15) -> float:
    """ECE over bins of equal mass (Nguyen & O'Connor, 2015); `p` and `correct` are (M,)."""
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [len(part) * abs(float(p[part].mean() - correct[part].mean())) for part in parts]
    return sum(gaps) / len(p)


def log_loss_rows(p: Array, accuracy: Array) -> Array:
    """Mean log loss per problem (N,), in nats, over its efforts with an accuracy; both (N, E)."""
    measured = np.isfinite(accuracy)
    clipped, share = np.clip(p, 1e-9, 1 - 1e-9), np.where(measured, accuracy, 0.0)
    loss = -(share * np.log(clipped) + (1 - share) * np.log(1 - clipped))
    return np.where(measured, loss, 0.0).sum(axis=1) / measured.sum(axis=1)


def brier_rows(p: Array, accuracy: Array) -> Array:
    """Brier score per problem (N,): mean squared error against single generations; both (N, E)."""
    return (accuracy * (1 - p) ** 2 + (1 - accuracy) * p**2).mean(axis=1)


def measure(held_out: HeldOut, price: float | None) -> dict[str, object]:
    """Calibration of the estimates, and accuracy and tokens of the policy at a certified `price`.

    At price None the policy is the baseline effort. `*_without_features`: the scores of each
    effort's mean accuracy as the estimate.
    """
    size = len(held_out.p)
    brier = brier_rows(held_out.p, held_out.accuracy)
    constant = np.broadcast_to(held_out.accuracy.mean(axis=0), held_out.p.shape)

    def ece(rows: Index) -> float:
        return expected_calibration_error(held_out.p[rows].ravel(), held_out.accuracy[rows].ravel())

    rows = np.arange(size)
    chosen = np.full(size, held_out.baseline) if price is None else held_out.chosen(price)
    return {
        "problems": size,
        "ece": ece(rows),
        "ece_ci": bootstrap_interval(size, ece),
        "brier": float(brier.mean()),
        "brier_ci": bootstrap_interval(size, lambda draw: float(brier[draw].mean())),
        "brier_without_features": float(brier_rows(constant, held_out.accuracy).mean()),
        "log_loss": float(log_loss_rows(held_out.p, held_out.accuracy).mean()),
        "log_loss_without_features": float(log_loss_rows(constant, held_out.accuracy).mean()),
        "accuracy": float(held_out.accuracy[rows, chosen].mean()),
        "tokens": float(held_out.spent[rows, chosen].mean()),
        "baseline_accuracy": float(held_out.accuracy[:, held_out.baseline].mean()),
        "baseline_tokens": float(held_out.spent[:, held_out.baseline].mean()),
    }
