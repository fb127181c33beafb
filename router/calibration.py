"""How far the estimates can be trusted: certified epsilons, ECE, Brier, intervals.

Works on held-out estimates and outcomes only; knows neither prompts nor learners.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from router.estimate import Array
from router.policy import choose_rows

Index = NDArray[np.intp]

LOSSES: tuple[float, ...] = (0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2)
"""Accuracy losses that every artifact has an answer for."""

EPSILONS: tuple[float, ...] = (
    -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03,
    0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0,
)  # fmt: skip
"""From "nearly always the baseline" to "always the cheapest": the order of testing."""

_IMAGINED_LOSSES = 1.0


@dataclass(frozen=True)
class Held:
    """Held-out estimates and outcomes of N problems at E efforts, all (N, E) and complete."""

    p: Array
    tokens: Array
    accuracy: Array
    spent: Array
    baseline: int

    def differences(self, epsilon: float) -> Array:
        """Accuracy of the quality rule minus accuracy of the baseline effort, per problem."""
        rows = np.arange(len(self.p))
        chosen = choose_rows(self.p, self.tokens, epsilon, self.baseline)
        return self.accuracy[rows, chosen] - self.accuracy[:, self.baseline]


def loss_p_value(differences: Array, max_loss: float) -> float:
    """P-value of "the mean loss on as many new problems exceeds `max_loss`".

    `differences` are paired, in [-1, 1], policy minus baseline. Normal approximation; the
    variance counts twice, once for these problems and once for the new ones, so that the promise
    also holds as it will be measured, and with more room for the true mean. One imagined problem
    that the policy lost keeps differences that are all zero from certifying anything (in the
    manner of Agresti & Caffo, The American Statistician 54(4), 2000).
    """
    if len(differences) == 0:
        return 1.0
    size = len(differences) + _IMAGINED_LOSSES
    mean = (float(differences.sum()) - _IMAGINED_LOSSES) / size
    square = (float((differences**2).sum()) + _IMAGINED_LOSSES) / size
    variance = max(square - mean**2, 0.0) * (size + 1) / size
    z = (mean + max_loss) / sqrt(max(2.0 * variance / size, 1e-12))
    return 0.5 * erfc(z / sqrt(2.0))


def certify(held: Held, max_loss: float, delta: float) -> float | None:
    """The largest epsilon whose accuracy loss is at most `max_loss` with confidence 1 - `delta`.

    Learn-then-Test with fixed-sequence testing: epsilons in rising order, each at level `delta`,
    until the first that is not certified, so the family-wise error stays `delta`. Angelopoulos,
    Bates, Candes, Jordan & Lei, "Learn then Test", section 2.3 and appendix; arXiv 2110.01052.
    It holds for estimates that never saw these problems (here: cross-fitted ones, while the
    shipped fit has seen all of them and is taken to be no worse); None if nothing passes.
    """
    best: float | None = None
    for epsilon in EPSILONS:
        if loss_p_value(held.differences(epsilon), max_loss) > delta:
            return best
        best = epsilon
    return best


def epsilon_table(held: Held, losses: Sequence[float], delta: float) -> dict[float, float | None]:
    """`certify` for each loss, each at confidence 1 - `delta` on its own."""
    return {loss: certify(held, loss, delta) for loss in sorted({*LOSSES, *losses})}


def expected_calibration_error(p: Array, correct: Array, bins: int = 15) -> float:
    """ECE over bins of equal mass (Nguyen & O'Connor 2015); inputs are flat, of equal length."""
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [len(part) * abs(float(p[part].mean() - correct[part].mean())) for part in parts]
    return sum(gaps) / len(p)


def log_loss(p: Array, accuracy: Array) -> float:
    """Mean log loss per cell, in nats, over the cells whose accuracy is known."""
    seen = np.isfinite(accuracy)
    chance, share = np.clip(p[seen], 1e-9, 1 - 1e-9), accuracy[seen]
    return float(-(share * np.log(chance) + (1 - share) * np.log(1 - chance)).mean())


def brier_rows(p: Array, accuracy: Array) -> Array:
    """Brier score per problem (N,): expected squared error against single judged generations."""
    return (accuracy * (1 - p) ** 2 + (1 - accuracy) * p**2).mean(axis=1)


def bootstrap(
    size: int, statistic: Callable[[Index], float], draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of problems, resampling `size` of them."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, size, size)) for _ in range(draws)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def measure(held: Held, epsilon: float | None) -> dict[str, object]:
    """How good held-out estimates are, and what the certified policy would have saved."""
    brier = brier_rows(held.p, held.accuracy)
    constant = np.broadcast_to(held.accuracy.mean(axis=0), held.p.shape)

    def ece(rows: Index) -> float:
        return expected_calibration_error(held.p[rows].ravel(), held.accuracy[rows].ravel())

    everything = np.arange(len(held.p))
    chosen = np.full(len(held.p), held.baseline)
    if epsilon is not None:
        chosen = choose_rows(held.p, held.tokens, epsilon, held.baseline)
    return {
        "problems": len(held.p),
        "ece": ece(everything),
        "ece_ci": bootstrap(len(held.p), ece),
        "brier": float(brier.mean()),
        "brier_ci": bootstrap(len(held.p), lambda rows: float(brier[rows].mean())),
        "brier_without_features": float(brier_rows(constant, held.accuracy).mean()),
        "log_loss": log_loss(held.p, held.accuracy),
        "log_loss_without_features": log_loss(constant, held.accuracy),
        "accuracy": float(held.accuracy[everything, chosen].mean()),
        "tokens": float(held.spent[everything, chosen].mean()),
        "baseline_accuracy": float(held.accuracy[:, held.baseline].mean()),
        "baseline_tokens": float(held.spent[:, held.baseline].mean()),
    }
