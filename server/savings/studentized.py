"""How far an estimate from few, heavy-tailed conversations may be off, in standard errors.

Student's quantiles hold for sums of many conversations. With some dozens, of which one in a hundred
is as long as all the others, an estimate that missed it is too low, and so is its standard error.
The treated requests, which are many, show how often that happens: the same estimator predicts their
known sum from as many of their conversations as were held out, hundreds of times, and the errors
over their standard errors have the quantiles that are wanted. Only the shape of the distribution is
taken from them, not its scale: a bootstrap-t (Efron 1981) that draws from the larger arm.
"""

from dataclasses import dataclass
from math import inf, isfinite, sqrt
from statistics import NormalDist

import numpy as np

from router.student_quantile import student_quantile as expanded
from server.savings.regression import scales
from server.savings.sample import Array, Sample

_LEVEL = 0.95
_RESERVE = 0.0075
"""Probability at each end by which the interval is wider where few are held out: the shape is not
known but estimated, and of the other arm. With it, each distribution of the benchmark with a finite
variance is covered (`python -m server.savings.coverage`)."""

_DRAWS = 499
_MAX_DRAWN = 200
"""Conversations of a draw. With more, the difference to Student's quantiles shrinks as the inverse
root of their number: the first term of Edgeworth's expansion."""

_MIN_DRAWN = 5
_MIN_TIMES = 3
"""Treated conversations per held out one, at least; with fewer a draw has many of them twice."""


@dataclass(frozen=True)
class Quantiles:
    """Of an error over its standard error; an error is an estimate minus the truth."""

    low: float
    high: float
    student: float

    @property
    def widened(self) -> float:
        """How many times as wide as Student's interval theirs is."""
        return (self.high - self.low) / (2 * self.student) if isfinite(self.student) else 1.0


def quantiles(examples: Sample | None, middle: float, held_out: int) -> Quantiles:
    """The quantiles that an interval of 95 % takes, of a fixed random sequence.

    At least Student's. Without enough examples, Student's.

    Args:
        examples: treated requests.
        middle: the mean prediction.
        held_out: the number of held out conversations.
    """
    if held_out < 1:
        return Quantiles(-inf, inf, inf)
    number = min(held_out, _MAX_DRAWN)
    outside = (1 - _LEVEL) / 2 - _RESERVE * number / held_out
    student = student_quantile(1 - outside, held_out - 2)
    conversations = None if examples is None else _moments(examples, middle)
    enough = _MIN_TIMES * number
    if conversations is None or conversations.shape[1] < enough or held_out < _MIN_DRAWN:
        return Quantiles(-student, student, student)
    low, high = np.quantile(_errors(conversations, number), [outside, 1 - outside])
    shrunk = sqrt(number / held_out)
    return Quantiles(
        -student + shrunk * min(float(low) + student, 0.0),
        student + shrunk * max(float(high) - student, 0.0),
        student,
    )


def student_quantile(level: float, freedom: int) -> float:
    """Student's quantile of a level; infinite below three degrees of freedom."""
    return inf if freedom < 3 else expanded(NormalDist().inv_cdf(level), freedom)


def _moments(examples: Sample, middle: float) -> Array:
    """Sums per conversation (9, K).

    Of requests, predictions, their squares, and outcomes; and with the regression's weights, of
    requests, predictions, their squares, outcomes, and outcomes x predictions.
    """
    control = np.where(np.isfinite(examples.predicted), examples.predicted, middle)
    group = np.unique(examples.conversation, return_inverse=True)[1]
    weight = scales(control, middle) ** -2.0
    outcomes = examples.outcomes
    terms = (
        np.ones_like(control),
        control,
        control**2,
        outcomes,
        weight,
        weight * control,
        weight * control**2,
        weight * outcomes,
        weight * outcomes * control,
    )
    sums: list[Array] = [np.bincount(group, weights=term).astype(float) for term in terms]
    return np.stack(sums)


def _errors(conversations: Array, number: int) -> Array:
    """Errors of the estimated sum of all outcomes over their standard errors, one per draw."""
    rng = np.random.default_rng(number)
    size = conversations.shape[1]
    drawn = np.take(conversations, rng.integers(0, size, (_DRAWS, number)), axis=1)
    everything, sums = conversations.sum(axis=1), drawn.sum(axis=2)
    intercept, slope = _lines(sums)
    residual = drawn[3] - intercept[:, None] * drawn[0] - slope[:, None] * drawn[1]
    times = size / number

    def squares(sums: Array) -> Array:
        requests, predicted, squared = sums[:3]
        return intercept**2 * requests + 2 * intercept * slope * predicted + slope**2 * squared

    estimated = intercept * everything[0] + slope * everything[1] + times * residual.sum(axis=1)
    ratio = np.maximum(squares(everything) / np.maximum(times * squares(sums), 1e-300), 1.0)
    standard_error = times * np.sqrt((residual**2).sum(axis=1) * ratio)
    error = estimated - everything[3]
    return np.divide(error, standard_error, out=np.zeros_like(error), where=standard_error > 0)


def _lines(sums: Array) -> tuple[Array, Array]:
    """Intercept and slope of each draw's regression."""
    weight, x, xx, y, xy = (sums[row, :] for row in range(4, 9))
    determinant = weight * xx - x**2
    is_line = determinant > 1e-12 * weight * xx
    safe = np.where(is_line, determinant, 1.0)
    slope = np.where(is_line, (weight * xy - x * y) / safe, 0.0)
    intercept = np.where(is_line, (xx * y - x * xy) / safe, y / weight)
    return intercept, slope
