from dataclasses import replace

import numpy as np
import pytest

from router.arrays import Array
from router.fitting.calibration import (
    HeldOut,
    LossTest,
    brier_rows,
    certify,
    expected_calibration_error,
    log_loss_rows,
    operating_points,
)
from router.policy import ALWAYS_BASELINE, OperatingPoint, choose_rows_at

COST = np.array([[1.0, 10.0, 100.0]])


def population(rng: np.random.Generator, size: int, noise: float) -> tuple[Array, Array]:
    """True P(correct) of three efforts, and estimates that are off by `noise` in logits."""
    hardness = rng.uniform(-4, 4, (size, 1))
    logits = np.array([0.0, 1.5, 2.0]) - hardness
    return 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-logits - noise * rng.normal(size=(size, 3))))


def held_out(rng: np.random.Generator, size: int, noise: float) -> HeldOut:
    true, p = population(rng, size, noise)
    tokens = np.repeat(COST, size, axis=0)
    correct = (rng.random(true.shape) < true).astype(float)
    return HeldOut(
        p, tokens, correct, tokens, correct, tokens, 2, np.full(size, True), np.arange(size)
    )


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 2.0, 10.0])
def test_the_certified_loss_is_exceeded_in_at_most_delta_of_repeats(noise: float) -> None:
    rng = np.random.default_rng(int(noise * 10))
    true, p = population(rng, 50_000, noise)
    tokens = np.repeat(COST, len(p), axis=0)
    rows = np.arange(len(p))
    exceeded = certified = 0
    repeats, max_loss, delta = 60, 0.02, 0.1
    for _ in range(repeats):
        sample = held_out(rng, 1500, noise)
        point = certify([sample], [max_loss], delta, bounded=True)[max_loss]
        certified += point.leaves_baseline
        loss = true[:, 2].mean() - true[rows, choose_rows_at(p, tokens, point, 2)].mean()
        exceeded += loss > max_loss
    assert exceeded <= delta * repeats
    assert certified > repeats / 2 or noise >= 0.5  # good estimates certify a saving


@pytest.mark.parametrize("size", [60, 400, 2000])
@pytest.mark.parametrize("max_loss", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("wins", [0.0, 0.01, 0.2])
def test_p_values_hold_at_the_certified_loss(size: int, max_loss: float, wins: float) -> None:
    """At a true loss of `max_loss` at most a tenth is certified, and also loses more again."""
    rng = np.random.default_rng(size)
    chances = [wins + max_loss, 1 - 2 * wins - max_loss, wins]
    draws = rng.choice([-1.0, 0.0, 1.0], p=chances, size=(1000, size))
    repeats = rng.choice([-1.0, 0.0, 1.0], p=chances, size=(1000, size))
    certified = np.array([p_value(row, max_loss) <= 0.1 for row in draws])
    assert certified.mean() <= 0.1
    assert (certified & (repeats.mean(axis=1) < -max_loss)).mean() <= 0.1


def p_value(differences: Array, max_loss: float) -> float:
    return LossTest(differences[np.newaxis], np.arange(len(differences))).p_value(max_loss)


def test_p_values_of_clear_cases() -> None:
    assert p_value(np.zeros(1000), 0.01) < 0.01
    assert p_value(np.zeros(20), 0.01) > 0.5
    assert p_value(np.full(1000, -0.5), 0.01) > 0.999


def test_problems_that_vary_together_say_less() -> None:
    """Of 200 templates with five prompts each, a tenth gains on all of them."""
    gains = np.repeat(np.arange(200) < 20, 5).astype(float)
    together = LossTest(gains[np.newaxis], np.arange(1000) // 5).p_value(-0.08)
    assert together > 2 * p_value(gains, -0.08)
    assert p_value(gains[::5], -0.08) == pytest.approx(together, rel=0.2)


def test_repetitions_of_a_cross_fit_say_more_than_one() -> None:
    """More is certified far below the promise, and less near to it."""
    once, twelve = certified_shares(left=3)  # a loss of 0.005
    assert twelve > once + 0.05
    once, twelve = certified_shares(left=8)  # of 0.013
    assert twelve < once / 2


def certified_shares(left: int) -> tuple[float, float]:
    """How often a loss of 0.02 is certified from one cross-fit, and from twelve.

    Each leaves the baseline on `left` of 24 prompts among 300; half of the 24 lose by it.
    """
    rng = np.random.default_rng(left)
    certified = np.zeros((200, 2))
    for row in certified:
        loses = rng.random(24) < 0.5
        differences = np.zeros((12, 300))
        for repetition in differences:
            chosen = rng.permutation(24)[:left]
            repetition[chosen] = -1.0 * loses[chosen]
        for column, repeats in enumerate((1, 12)):
            test = LossTest(differences[:repeats], np.arange(300))
            row[column] = test.p_value(0.02) <= 0.1
    once, twelve = certified.mean(axis=0).tolist()
    return once, twelve


def test_larger_losses_certify_points_of_fewer_tokens() -> None:
    sample = held_out(np.random.default_rng(1), 3000, 0.5)
    table = operating_points([sample], [0.0123], 0.1)
    assert 0.0123 in dict(table)
    assert list(table) == sorted(table, key=lambda pair: pair[0])
    spent = [float(sample.served(point)[1].mean()) for _, point in table]
    assert spent == sorted(spent, reverse=True)
    assert spent[-1] < 0.5 * spent[0]


def test_the_baseline_for_every_prompt_is_certified_by_definition() -> None:
    """Also from few problems, of which the first may never be left for another effort."""
    few = held_out(np.random.default_rng(3), 20, 0.5)
    assert {point for _, point in operating_points([few], [], 0.1)} == {ALWAYS_BASELINE}


def test_testing_begins_at_the_baseline_and_stops_at_the_first_point_that_loses() -> None:
    """Effort 0 is right where its P(correct) is far above the baseline's, and wrong elsewhere."""
    size = 4000
    gain = np.linspace(-0.5, 0.5, size)
    p = np.stack([0.5 + gain / 2, 0.5 - gain / 2], axis=1)
    tokens = np.tile([1.0, 100.0], (size, 1))
    accuracy = np.stack([gain > 0.28, np.ones(size)], axis=1).astype(float)
    sample = HeldOut(
        p, tokens, accuracy, tokens, accuracy, tokens, 1, np.full(size, True), np.arange(size)
    )
    certified = certify([sample], [0.01, 0.05], 0.1, bounded=False)
    assert certified[0.01] == OperatingPoint(0.0, 0.3, bounded=False, dearer=False)
    assert certified[0.05] == OperatingPoint(0.0, 0.25, bounded=False, dearer=False)


def test_what_budgets_cut_counts_in_the_certificate() -> None:
    sample = held_out(np.random.default_rng(4), 1500, 0.1)
    cutting = replace(
        sample, bounded_accuracy=0.9 * sample.accuracy, bounded_spent=0.5 * sample.spent
    )
    assert not dict(operating_points([cutting], [], 0.1, cut=0.005))[0.02].bounded
    assert dict(operating_points([cutting], [], 0.1, cut=0.005))[0.02] == ALWAYS_BASELINE
    harmless = replace(sample, bounded_spent=0.5 * sample.spent)
    points = dict(operating_points([harmless], [], 0.1, cut=0.005))
    assert points[0.02].bounded
    assert not points[0.015].bounded  # the budgets may take a quarter of the loss


def test_untrusted_prompts_get_the_baseline_in_the_certificate_too() -> None:
    sample = held_out(np.random.default_rng(5), 500, 0.5)
    cutting = replace(sample, bounded_accuracy=np.zeros_like(sample.accuracy))
    untrusted = replace(cutting, trusted=np.full(500, False))
    assert (untrusted.chosen(OperatingPoint(1000.0)) == untrusted.baseline).all()
    accuracy, _ = untrusted.served(OperatingPoint(1000.0))
    assert (accuracy == sample.accuracy[:, 2]).all()
    assert (sample.chosen(OperatingPoint(1000.0)) == 0).all()


def test_the_frontier_spends_less_at_higher_prices() -> None:
    points = held_out(np.random.default_rng(6), 3000, 0.1).frontier()
    assert [p.price for p in points] == sorted(p.price for p in points)
    assert [p.tokens for p in points] == sorted((p.tokens for p in points), reverse=True)
    assert points[-1].tokens == 1.0


def test_calibration_error_and_scores() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(size=50_000)
    correct = (rng.random(50_000) < p).astype(float)
    assert expected_calibration_error(p, correct) < 0.01
    assert expected_calibration_error(np.sqrt(p), correct) > 0.1
    assert brier_rows(np.array([[0.5, 1.0]]), np.array([[1.0, 1.0]])) == pytest.approx([0.125])
    losses = log_loss_rows(np.array([[0.5, 0.9]]), np.array([[1.0, np.nan]]))
    assert losses == pytest.approx([np.log(2)])
