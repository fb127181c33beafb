"""Savings of treated requests, estimated from a randomised holdout; pure arithmetic.

What a treated request would have taken at the baseline effort is never seen. It is predicted by
the router, and the prediction is corrected by the held out requests, where it can be compared with
what was taken: augmented inverse-propensity weighting (Robins, Rotnitzky & Zhao, JASA 89, 1994)
for the treated, with propensities that are known. A wrong prediction widens the interval and does
not bias the figure. Randomised, and so also resampled in thought, are conversations.
"""

from dataclasses import dataclass
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ENOUGH_HELD_OUT = 30
"""Held out conversations below which no interval is meaningful."""

_ALPHA = 0.05
_LEAST_SCALE = 0.1
_MOST_LEVERAGE = 0.9
_TUNED_TO = 20_000
"""Conversations at which the always-valid interval is at its narrowest, relative to the other."""


@dataclass(frozen=True)
class Sample:
    """N requests whose effort was left to the gateway, all arrays (N,).

    `treated`: else held out. `conversation`: an index. `p_treated` and `p_held_out`: the arms'
    probabilities when the request came. `taken`: the outcome. `predicted`: what the router expected
    it to be at the baseline effort, nan where unknown.
    """

    treated: NDArray[np.bool_]
    conversation: NDArray[np.intp]
    p_treated: Array
    p_held_out: Array
    taken: Array
    predicted: Array

    def only(self, rows: NDArray[np.bool_]) -> "Sample":
        """Some of the requests."""
        return Sample(
            self.treated[rows],
            self.conversation[rows],
            self.p_treated[rows],
            self.p_held_out[rows],
            self.taken[rows],
            self.predicted[rows],
        )


@dataclass(frozen=True)
class Saving:
    """What the treated requests took less than they would have at the baseline effort.

    `saved` is a sum over them; `ends` its 95 % interval at one look; `always` the ends of an
    interval that holds at all looks at once. `taken` is what they took.
    """

    saved: float
    ends: tuple[float, float]
    always: tuple[float, float]
    taken: float
    requests: int
    held_out_requests: int
    held_out_conversations: int

    @property
    def pending(self) -> bool:
        """Whether the interval says nothing yet: too few held out, or wider than all there is."""
        if self.held_out_conversations < ENOUGH_HELD_OUT:
            return True
        return self.ends[1] - self.ends[0] > max(self.saved + self.taken, 0.0)

    def share(self, saved: float) -> float:
        """A sum saved, as a share of what would have been taken without the gateway."""
        if saved == 0:
            return 0.0
        without = saved + self.taken
        return saved / without if without > 0 else float("-inf")


def estimate(sample: Sample, imagined: float = 0.0) -> Saving:
    """The saving of a sample, in the outcome's unit.

    `imagined` is a miss of one more held out conversation, for the interval alone: where nearly all
    outcomes are the same, such as right answers, few seen ones do not tell how others may scatter.
    """
    held_out = ~sample.treated
    expected, residual = _calibrated(sample)
    factor = sample.p_treated / np.where(held_out, sample.p_held_out, 1.0)
    saved = float(
        (expected - sample.taken)[sample.treated].sum() + (factor * residual)[held_out].sum()
    )
    variance, groups = _variance(sample, expected, residual, imagined)
    conversations = len(np.unique(sample.conversation))
    wide = _t_quantile(1 - _ALPHA / 2, groups - 2) * sqrt(variance)
    always = max(_always_valid(variance, conversations), wide)
    return Saving(
        saved=saved,
        ends=(saved - wide, saved + wide),
        always=(saved - always, saved + always),
        taken=float(sample.taken[sample.treated].sum()),
        requests=int(sample.treated.sum()),
        held_out_requests=int(held_out.sum()),
        held_out_conversations=groups,
    )


def _calibrated(sample: Sample) -> tuple[Array, Array]:
    """Expected outcomes at the baseline effort (N,), and how the held out ones missed theirs.

    The router's predictions on the scale that the held out requests set: a regression on them
    (Cassel, Sarndal & Wretman, Biometrika 63, 1976), as if misses grew with the prediction. They
    are divided by one less their leverage, as if each had been left out of the regression (HC3).
    """
    held_out = ~sample.treated
    known = np.isfinite(sample.predicted)
    middle = float(sample.predicted[known].mean()) if known.any() else 0.0
    control = np.where(known, sample.predicted, middle)
    residual = np.zeros_like(sample.taken)
    if not held_out.any():
        return control, residual
    design = np.stack([np.ones_like(control), control], axis=1)
    if np.ptp(control[held_out]) <= 1e-9 * max(abs(middle), 1.0):
        design = design[:, :1]
    scale = np.maximum(control, max(middle, 1e-9) * _LEAST_SCALE)[held_out]
    rows = design[held_out] / scale[:, None]
    inverse = np.linalg.pinv(rows.T @ rows)
    taken = sample.taken[held_out]
    fitted = design @ (inverse @ (rows.T @ (taken / scale)))
    leverage = np.einsum("ij,jk,ik->i", rows, inverse, rows).clip(0.0, _MOST_LEVERAGE)
    residual[held_out] = (taken - fitted[held_out]) / (1 - leverage)
    return fitted, residual


def _variance(
    sample: Sample, expected: Array, residual: Array, imagined: float
) -> tuple[float, int]:
    """The variance of the estimated sum, and from how many held out conversations it is known.

    A conversation's misses enter with p_treated / p_held_out where it is held out, and with -1
    where it is treated; only in the first case are they seen. Each request's has its own weight,
    for the arms' shares may change within a conversation. Few large ones make most of it, so
    their squares are not just weighted up: their ratio to the squares of what was expected is,
    which is known of all conversations.
    """
    held_out = ~sample.treated
    if not held_out.any():
        return 0.0, 0
    of, group = np.unique(sample.conversation, return_inverse=True)
    p_held_out = np.where(held_out, sample.p_held_out, 1.0)
    entering = sample.p_treated**2 / sample.p_held_out + sample.p_treated
    weight = np.sqrt(entering / p_held_out) * held_out

    def squares(values: Array) -> float:
        return float((np.bincount(group, weights=values, minlength=len(of)) ** 2).sum())

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
