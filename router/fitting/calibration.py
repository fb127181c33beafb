"""Certified operating points and quality metrics, from held-out estimates and outcomes only.

Knows neither prompts nor learners.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import erfc, inf, sqrt

import numpy as np

from router.arrays import Array, Index, Mask
from router.bootstrap import bootstrap_interval
from router.policy import (
    ALWAYS_BASELINE,
    FrontierPoint,
    OperatingPoint,
    choose_rows_at,
)

LOSSES: tuple[float, ...] = (0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2)
"""Accuracy losses for which every artifact holds a certified operating point."""

PRICES: tuple[float, ...] = (
    0.0,
    *(float(f"{10 ** (power / 40):.3g}") for power in range(-200, 121)),
)
"""Prices in P(correct) per 1,000 tokens: from 0, where accuracy alone counts, to 1,000. They begin
at 1e-5, for models that think for tens of thousands of tokens."""

MARGINS: tuple[float, ...] = (
    inf, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.225, 0.2, 0.18, 0.16, 0.14, 0.12, 0.1,
    0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.015, 0.01, 0.005,
)  # fmt: skip
"""Margins in P(correct), in the order of testing: from the baseline for every prompt outwards."""

_PSEUDO_LOSSES = 0.5
CUTS_PER_LOSS = 4.0
"""Budgets may take a quarter of the loss that is certified."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out estimates and outcomes of N problems at E efforts, all (N, E) without gaps.

    `p`: estimated P(correct). `tokens`: estimated thinking tokens. `accuracy`: share of correct
    generations. `spent`: their mean tokens. `bounded_accuracy`, `bounded_spent`: the same where the
    router's budgets are sent. `baseline`: an effort index. `trusted` (N,): whether the router makes
    an estimate for the prompt; the others get the baseline effort without a budget. `cluster` (N,):
    problems that vary together, numbered from 0. `guard` (N,): what adds to the margin of a prompt
    of an unknown kind.
    """

    p: Array
    tokens: Array
    accuracy: Array
    spent: Array
    bounded_accuracy: Array
    bounded_spent: Array
    baseline: int
    trusted: Mask
    cluster: Index
    guard: Array | float = 0.0

    def chosen(self, point: OperatingPoint) -> Index:
        """The effort index (N,) of each problem."""
        chosen = choose_rows_at(self.p, self.tokens, point, self.baseline, self.guard)
        return np.where(self.trusted, chosen, self.baseline)

    def served(self, point: OperatingPoint) -> tuple[Array, Array]:
        """Accuracy and tokens of what is served, budgets and abstentions included, both (N,)."""
        rows, chosen = np.arange(len(self.p)), self.chosen(point)
        accuracy, spent = self.accuracy[rows, chosen], self.spent[rows, chosen]
        if point.bounded:
            accuracy = np.where(self.trusted, self.bounded_accuracy[rows, chosen], accuracy)
            spent = np.where(self.trusted, self.bounded_spent[rows, chosen], spent)
        return accuracy, spent

    def frontier(self) -> tuple[FrontierPoint, ...]:
        """Mean accuracy and tokens by rising price, without prices that change no tokens."""
        points: list[FrontierPoint] = []
        for price in PRICES:
            accuracy, tokens = (float(v.mean()) for v in self.served(OperatingPoint(price)))
            if not points or tokens != points[-1].tokens:
                points.append(FrontierPoint(price, accuracy, tokens))
        return tuple(points)


class LossTest:
    """Tests how much accuracy a policy loses against the baseline effort.

    `differences` (R, N) are paired, in [-1, 1], policy minus baseline, on N problems by each of R
    repetitions of cross-fitting; those of one `cluster` (N,), numbered from 0, vary together.
    Normal approximation with the variance between clusters, which counts three times: once for
    these problems, once for the new ones (the bound must hold as an operator measures it), and once
    for the fits, half of it for those of a repetition, half for the served one (router/RESULTS.md).
    The mean over repetitions varies less, by the problems and by the fits; what is served is no
    mean. Half a lost problem, with the variance of such a count, keeps differences that are all
    zero from certifying anything (after Agresti & Caffo, The American Statistician 54(4), 2000).
    """

    def __init__(self, differences: Array, cluster: Index) -> None:
        repeats = len(differences)
        sizes = np.bincount(cluster).astype(np.float64)
        sums = np.stack([np.bincount(cluster, row, len(sizes)) for row in differences])
        self._mean = (float(sums.sum()) / repeats - _PSEUDO_LOSSES) / (float(sizes.sum()) + 1.0)
        single = float(np.mean([self._variance(row, sizes) for row in sums]))
        averaged = self._variance(sums.mean(axis=0), sizes)
        fits = 0.5 + 0.5 / repeats  # the served one, and those of the repetitions
        self._error = sqrt(averaged + single + fits * single)

    def _variance(self, sums: Array, sizes: Array) -> float:
        """Of the mean, from the sums and sizes (G,) of G clusters."""
        squares = float(((sums - self._mean * sizes) ** 2).sum()) + _PSEUDO_LOSSES
        return squares * (len(sums) + 1) / len(sums) / (float(sizes.sum()) + 1.0) ** 2

    def p_value(self, max_loss: float) -> float:
        """Of the hypothesis that the mean loss on N new problems exceeds `max_loss`."""
        return 0.5 * erfc((self._mean + max_loss) / self._error / sqrt(2.0))


def operating_points(
    held_out: Sequence[HeldOut], losses: Sequence[float], delta: float, cut: float = 0.0
) -> tuple[tuple[float, OperatingPoint], ...]:
    """(loss, certified point) by rising loss, for `losses` and LOSSES; see `certify`.

    Budgets that cut off a share `cut` of the correct answers are sent where the loss is at least
    CUTS_PER_LOSS times as large.
    """
    every = sorted({*LOSSES, *losses})
    few = [loss for loss in every if loss < CUTS_PER_LOSS * cut - 1e-12]
    many = every[len(few) :]
    points = certify(held_out, few, delta, bounded=False)
    points |= certify(held_out, many, delta, bounded=True)
    return tuple((loss, points[loss]) for loss in every)


def certify(
    held_out: Sequence[HeldOut], losses: Sequence[float], delta: float, bounded: bool
) -> dict[float, OperatingPoint]:
    """For each of `losses` the certified operating point that spends the fewest tokens.

    It loses at most that much accuracy against the baseline with confidence 1 - `delta`.
    Learn-then-Test with fixed-sequence testing: points in the order of `_sequence`, each at level
    `delta`, until the first that fails, so that the family-wise error is at most `delta` and any
    point before it may be taken (Angelopoulos, Bates, Candes, Jordan & Lei, "Learn then Test",
    section 2.3 and appendix; arXiv 2110.01052). Each loss is certified separately. The baseline for
    every prompt, without budgets, loses nothing by definition and needs no test.

    The test needs estimates that were fitted without these problems; cross-fitted ones stand in for
    the served fit, which used all problems and is assumed to be no worse. `held_out` are those of
    several cross-fits of the same problems: which of two like prompts leaves the baseline is chance
    that differs between them, and their mean has less of it.
    """
    first = held_out[0]
    baseline, spent = (values[:, first.baseline] for values in (first.accuracy, first.spent))
    best = {loss: (float(spent.mean()), ALWAYS_BASELINE) for loss in losses}
    passing: list[float] = list(losses)
    for point in _sequence(bounded):
        if not passing:
            break
        if not bounded and all((each.chosen(point) == each.baseline).all() for each in held_out):
            continue
        served = [each.served(point) for each in held_out]
        differences = np.stack([accuracy - baseline for accuracy, _ in served])
        test = LossTest(differences, first.cluster)
        mean = float(np.mean([tokens.mean() for _, tokens in served]))
        passing = [loss for loss in passing if test.p_value(loss) <= delta]
        for loss in passing:
            best[loss] = min(best[loss], (mean, point), key=lambda entry: entry[0])
    return {loss: point for loss, (_, point) in best.items()}


def _sequence(bounded: bool) -> Iterator[OperatingPoint]:
    """Operating points in the order of testing: outwards from the baseline for every prompt.

    A margin from infinite to none, then a price from none upwards; never an effort that is expected
    to be dearer than the baseline.
    """
    for margin in MARGINS:
        yield OperatingPoint(0.0, margin, bounded, dearer=False)
    for price in PRICES:
        yield OperatingPoint(price, 0.0, bounded, dearer=False)


def expected_calibration_error(p: Array, correct: Array, bins: int = 15) -> float:
    """ECE over bins of equal mass (Nguyen & O'Connor, 2015); `p` and `correct` are (M,)."""
    order = np.argsort(p, kind="stable")
    return _calibration_error(p[order], correct[order], bins)


def _calibration_error(p: Array, correct: Array, bins: int = 15) -> float:
    """The same for rising `p`."""
    gaps = [
        len(part) * abs(float(part.mean() - labels.mean()))
        for part, labels in zip(
            *(np.array_split(values, min(bins, len(p))) for values in (p, correct)), strict=True
        )
    ]
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


def measure(held_out: HeldOut, point: OperatingPoint) -> dict[str, object]:
    """Calibration of the estimates, and accuracy and tokens of what is served at a `point`.

    `*_without_features`: the scores of each effort's mean accuracy as the estimate.
    """
    size = len(held_out.p)
    brier = brier_rows(held_out.p, held_out.accuracy)
    constant = np.broadcast_to(held_out.accuracy.mean(axis=0), held_out.p.shape)

    p, correct = held_out.p.ravel(), held_out.accuracy.ravel()
    order, efforts = np.argsort(p, kind="stable"), held_out.p.shape[1]

    def ece(rows: Index) -> float:
        """Of resampled problems: their estimates in order, without sorting each draw."""
        repeats = np.bincount(rows, minlength=size)[order // efforts]
        drawn = np.repeat(order, repeats)
        return _calibration_error(p[drawn], correct[drawn])

    accuracy, spent = held_out.served(point)
    return {
        "problems": size,
        "ece": ece(np.arange(size)),
        "ece_ci": bootstrap_interval(size, ece),
        "brier": float(brier.mean()),
        "brier_ci": bootstrap_interval(size, lambda draw: float(brier[draw].mean())),
        "brier_without_features": float(brier_rows(constant, held_out.accuracy).mean()),
        "log_loss": float(log_loss_rows(held_out.p, held_out.accuracy).mean()),
        "log_loss_without_features": float(log_loss_rows(constant, held_out.accuracy).mean()),
        "accuracy": float(accuracy.mean()),
        "tokens": float(spent.mean()),
        "baseline_accuracy": float(held_out.accuracy[:, held_out.baseline].mean()),
        "baseline_tokens": float(held_out.spent[:, held_out.baseline].mean()),
    }
