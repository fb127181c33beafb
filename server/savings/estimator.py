"""Savings of treated requests, estimated from a randomised holdout; pure arithmetic.

What a treated request would have consumed at the baseline effort is never observed. The router
predicts it, and the held out requests, for which outcome and prediction are both known, correct
the prediction: augmented inverse-propensity weighting (Robins, Rotnitzky & Zhao, JASA 89, 1994) of
the effect on the treated, with known propensities. A wrong prediction widens the interval and does
not bias the estimate. The unit of randomisation, and of the variance, is the conversation.
"""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from server.savings.regression import Line, fit, leverages
from server.savings.sample import Array, Population, Sample
from server.savings.studentized import quantiles

__all__ = ["Sample", "Saving", "estimate", "estimate_population"]

ENOUGH_HELD_OUT = 30
"""Below this many held out conversations, no interval is reported."""

_ALPHA = 0.05
_HEAVY = 1.5
_MAX_LEVERAGE = 0.9
_TUNED_TO = 20_000
"""Conversations at which the always-valid interval is narrowest relative to the fixed one."""


@dataclass(frozen=True)
class Saving:
    """How much less the treated requests consumed than they would have at the baseline effort.

    `saved` is the sum over them, `interval` its 95 % interval for a single evaluation, and
    `always_valid` an interval that holds at all evaluations at once. `consumed` is their total.
    `widened`: how many times as wide as Student's the interval is; `server.savings.studentized`.
    """

    saved: float
    interval: tuple[float, float]
    always_valid: tuple[float, float]
    consumed: float
    requests: int
    held_out_requests: int
    held_out_conversations: int
    widened: float = 1.0

    @property
    def pending(self) -> bool:
        """Whether too few are held out, or the interval is wider than the total consumption."""
        if self.held_out_conversations < ENOUGH_HELD_OUT:
            return True
        return self.interval[1] - self.interval[0] > max(self.saved + self.consumed, 0.0)

    @property
    def heavy_tail(self) -> bool:
        """Whether the interval leans on the treated conversations' lengths being of its kind."""
        return self.widened >= _HEAVY

    def share(self, saved: float) -> float:
        """A saved sum as a share of what would have been consumed at the baseline effort."""
        if saved == 0:
            return 0.0
        without = saved + self.consumed
        return saved / without if without > 0 else float("-inf")


def estimate(sample: Sample, imagined: float = 0.0) -> Saving:
    """`estimate_population` of a sample that has all requests."""
    return estimate_population(Population.of(sample), imagined)


def estimate_population(population: Population, imagined: float = 0.0) -> Saving:
    """The saving, in the outcome's unit.

    Args:
        population: treated and held out requests.
        imagined: the residual of one additional held out conversation, which widens the interval.
            Where nearly all outcomes are equal, such as scores of 1, a few observations say little
            about the variance.
    """
    held_out = population.held_out
    middle = _middle(population)
    line, residual = _calibrated(held_out, middle)
    unknown = population.requests - population.known
    expected = line.intercept * population.requests + line.slope * (
        population.known_sum + middle * unknown
    )
    factor = held_out.p_treated / held_out.p_held_out
    saved = float(expected - population.consumed + (factor * residual).sum())
    variance, groups = _variance(population, line, middle, residual, imagined)
    around = quantiles(population.examples, middle, groups)
    interval = saved - around.high * sqrt(variance), saved - around.low * sqrt(variance)
    conversations = _conversations(held_out)
    always = _always_valid(variance, conversations)
    return Saving(
        saved=saved,
        interval=interval,
        always_valid=(min(saved - always, interval[0]), max(saved + always, interval[1])),
        consumed=population.consumed,
        requests=round(population.requests),
        held_out_requests=len(held_out.outcomes),
        held_out_conversations=groups,
        widened=around.widened,
    )


def _middle(population: Population) -> float:
    """The mean prediction, which stands in for those that are unknown."""
    predictions = population.held_out.predicted
    known = np.isfinite(predictions)
    number = population.known + float(known.sum())
    return (population.known_sum + float(predictions[known].sum())) / number if number else 0.0


def _calibrated(held_out: Sample, middle: float) -> tuple[Line, Array]:
    """Outcomes at the baseline effort as a line over predictions, and residuals of it (N,).

    The held out outcomes are regressed on the router's predictions (Cassel, Sarndal & Wretman,
    Biometrika 63, 1976), with a standard deviation proportional to the prediction. Residuals are
    divided by 1 - leverage, as if each request had been left out of the regression (HC3).
    """
    control = np.where(np.isfinite(held_out.predicted), held_out.predicted, middle)
    if not len(control):
        return Line(0.0, 1.0), np.zeros(0)
    line = fit(control, held_out.outcomes, middle)
    leverage = leverages(control, middle).clip(0.0, _MAX_LEVERAGE)
    return line, (held_out.outcomes - line.at(control)) / (1 - leverage)


def _variance(
    population: Population, line: Line, middle: float, residual: Array, imagined: float
) -> tuple[float, int]:
    """The variance of the estimated sum, and the number of held out conversations behind it.

    A conversation's residuals enter with weight p_treated / p_held_out if it is held out, and with
    -1 if it is treated; only the former are observed. Weights are per request, since the arms'
    shares may change within a conversation. Where the expectations, which are known of all
    requests, say that the held out ones are less than their share, a ratio estimator scales up:
    squared residuals over squared expectations. It does not scale down.
    """
    held_out = population.held_out
    if not len(held_out.outcomes):
        return 0.0, 0
    entering = held_out.p_treated**2 / held_out.p_held_out + held_out.p_treated
    weight = np.sqrt(entering / held_out.p_held_out)
    group = np.unique(held_out.conversation, return_inverse=True)[1]
    groups = int(group.max()) + 1
    missed = float((np.bincount(group, weights=weight * residual) ** 2).sum())
    missed *= groups / max(groups - 2, 1)  # two coefficients of the line
    missed += imagined**2 * float((weight**2).mean())
    control = np.where(np.isfinite(held_out.predicted), held_out.predicted, middle)
    of_seen = float(((weight * line.at(control)) ** 2).sum())
    of_all = (
        line.intercept**2 * population.weight
        + 2 * line.intercept * line.slope * population.weight_predicted
        + line.slope**2 * population.weight_squares
        + (line.intercept + line.slope * middle) ** 2 * population.weight_unknown
    )
    ratio = max(of_all / of_seen, 1.0) if of_seen > 0 else 1.0
    return missed * ratio, groups


def _conversations(held_out: Sample) -> float:
    """How many conversations there are, by the chance of each to be held out."""
    if not len(held_out.outcomes):
        return 0.0
    group = np.unique(held_out.conversation, return_inverse=True)[1]
    chances = np.bincount(group, weights=held_out.p_held_out) / np.bincount(group)
    return float((1 / chances).sum())


def _always_valid(variance: float, conversations: float) -> float:
    """Half the width of an asymptotic confidence sequence for the sum.

    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2.
    """
    if not conversations:
        return float("inf")
    rho2 = (-2 * log(_ALPHA) + log(-2 * log(_ALPHA) + 1)) / _TUNED_TO
    grown = conversations * rho2 + 1
    return sqrt(variance / conversations * 2 * grown / rho2 * log(sqrt(grown) / _ALPHA))
