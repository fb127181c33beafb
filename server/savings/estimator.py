"""Savings of treated requests, estimated from a randomised holdout; pure arithmetic.

What a treated request would have consumed at the baseline effort is never observed. The router
predicts it, and the held out requests, for which outcome and prediction are both known, correct
the prediction: augmented inverse-propensity weighting (Robins, Rotnitzky & Zhao, JASA 89, 1994) of
the effect on the treated, with known propensities. A wrong prediction widens the interval and does
not bias the estimate. The unit of randomisation, and of the variance, is the conversation.
"""

from dataclasses import dataclass
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ENOUGH_HELD_OUT = 30
"""Below this many held out conversations, no interval is reported."""

_ALPHA = 0.05
_MIN_SCALE = 0.1
_MAX_LEVERAGE = 0.9
_TUNED_TO = 20_000
"""Conversations at which the always-valid interval is narrowest relative to the fixed one."""


@dataclass(frozen=True)
class Sample:
    """N requests whose effort was left to the gateway, all arrays (N,).

    `treated`: False for held out requests. `conversation`: an index. `p_treated` and `p_held_out`:
    the arms' probabilities at the time of the request. `outcomes`: tokens, seconds or scores.
    `predicted`: the outcome that the router expects at the baseline effort, nan if unknown.
    """

    treated: NDArray[np.bool_]
    conversation: NDArray[np.intp]
    p_treated: Array
    p_held_out: Array
    outcomes: Array
    predicted: Array

    def subset(self, rows: NDArray[np.bool_]) -> "Sample":
        """The requests that `rows`, a mask (N,), selects."""
        return Sample(
            self.treated[rows],
            self.conversation[rows],
            self.p_treated[rows],
            self.p_held_out[rows],
            self.outcomes[rows],
            self.predicted[rows],
        )


@dataclass(frozen=True)
class Saving:
    """How much less the treated requests consumed than they would have at the baseline effort.

    `saved` is the sum over them, `interval` its 95 % interval for a single evaluation, and
    `always_valid` an interval that holds at all evaluations at once. `consumed` is their total.
    """

    saved: float
    interval: tuple[float, float]
    always_valid: tuple[float, float]
    consumed: float
    requests: int
    held_out_requests: int
    held_out_conversations: int

    @property
    def pending(self) -> bool:
        """Whether too few are held out, or the interval is wider than the total consumption."""
        if self.held_out_conversations < ENOUGH_HELD_OUT:
            return True
        return self.interval[1] - self.interval[0] > max(self.saved + self.consumed, 0.0)

    def share(self, saved: float) -> float:
        """A saved sum as a share of what would have been consumed at the baseline effort."""
        if saved == 0:
            return 0.0
        without = saved + self.consumed
        return saved / without if without > 0 else float("-inf")


def estimate(sample: Sample, imagined: float = 0.0) -> Saving:
    """The saving of a sample, in the outcome's unit.

    Args:
        sample: treated and held out requests.
        imagined: the residual of one additional held out conversation, which widens the interval.
            Where nearly all outcomes are equal, such as scores of 1, a few observations say little
            about the variance.
    """
    held_out = ~sample.treated
    expected, residual = _calibrated(sample)
    factor = sample.p_treated / np.where(held_out, sample.p_held_out, 1.0)
    saved = float(
        (expected - sample.outcomes)[sample.treated].sum() + (factor * residual)[held_out].sum()
    )
    variance, groups = _variance(sample, expected, residual, imagined)
    conversations = len(np.unique(sample.conversation))
    half_width = _t_quantile(1 - _ALPHA / 2, groups - 2) * sqrt(variance)
    always_width = max(_always_valid(variance, conversations), half_width)
    return Saving(
        saved=saved,
        interval=(saved - half_width, saved + half_width),
        always_valid=(saved - always_width, saved + always_width),
        consumed=float(sample.outcomes[sample.treated].sum()),
        requests=int(sample.treated.sum()),
        held_out_requests=int(held_out.sum()),
        held_out_conversations=groups,
    )


def _calibrated(sample: Sample) -> tuple[Array, Array]:
    """Expected outcomes at the baseline effort and residuals of held out requests, both (N,).

    The held out outcomes are regressed on the router's predictions (Cassel, Sarndal & Wretman,
    Biometrika 63, 1976), with a standard deviation proportional to the prediction. Residuals are
    divided by 1 - leverage, as if each request had been left out of the regression (HC3).
    """
    held_out = ~sample.treated
    predicted = np.isfinite(sample.predicted)
    middle = float(sample.predicted[predicted].mean()) if predicted.any() else 0.0
    control = np.where(predicted, sample.predicted, middle)
    residual = np.zeros_like(sample.outcomes)
    if not held_out.any():
        return control, residual
    design = np.stack([np.ones_like(control), control], axis=1)
    if np.ptp(control[held_out]) <= 1e-9 * max(abs(middle), 1.0):
        design = design[:, :1]
    scale = np.maximum(control, max(middle, 1e-9) * _MIN_SCALE)[held_out]
    rows = design[held_out] / scale[:, None]
    inverse = np.linalg.pinv(rows.T @ rows)
    observed = sample.outcomes[held_out]
    fitted = design @ (inverse @ (rows.T @ (observed / scale)))
    leverage = np.einsum("ij,jk,ik->i", rows, inverse, rows).clip(0.0, _MAX_LEVERAGE)
    residual[held_out] = (observed - fitted[held_out]) / (1 - leverage)
    return fitted, residual


def _variance(
    sample: Sample, expected: Array, residual: Array, imagined: float
) -> tuple[float, int]:
    """The variance of the estimated sum, and the number of held out conversations behind it.

    A conversation's residuals enter with weight p_treated / p_held_out if it is held out, and with
    -1 if it is treated; only the former are observed. Weights are per request, since the arms'
    shares may change within a conversation. A few large residuals dominate, so a ratio estimator is
    used: squared residuals over squared expectations, which are known for all conversations.
    """
    held_out = ~sample.treated
    if not held_out.any():
        return 0.0, 0
    conversations, group = np.unique(sample.conversation, return_inverse=True)
    p_held_out = np.where(held_out, sample.p_held_out, 1.0)
    entering = sample.p_treated**2 / sample.p_held_out + sample.p_treated
    weight = np.sqrt(entering / p_held_out) * held_out

    def squares(values: Array) -> float:
        return float((np.bincount(group, weights=values, minlength=len(conversations)) ** 2).sum())

    missed = squares(weight * residual) + imagined**2 * float((weight[held_out] ** 2).mean())
    expected_of_seen = squares(weight * expected)
    expected_of_all = squares(np.sqrt(entering) * expected)
    ratio = expected_of_all / expected_of_seen if expected_of_seen > 0 else 1.0
    return missed * ratio, len(np.unique(group[held_out]))


def _always_valid(variance: float, conversations: int) -> float:
    """Half the width of an asymptotic confidence sequence for the sum.

    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2.
    """
    if not conversations:
        return float("inf")
    rho2 = (-2 * log(_ALPHA) + log(-2 * log(_ALPHA) + 1)) / _TUNED_TO
    grown = conversations * rho2 + 1
    return sqrt(variance / conversations * 2 * grown / rho2 * log(sqrt(grown) / _ALPHA))


def _t_quantile(level: float, freedom: int) -> float:
    """Student's quantile by its expansion around the normal one (Fisher & Cornish, 1960)."""
    z = NormalDist().inv_cdf(level)
    if freedom < 3:
        return float("inf")
    n = float(freedom)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
