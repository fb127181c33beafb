from dataclasses import replace

import numpy as np
import pytest

from router.arrays import Array
from router.fitting.calibration import (
    PRICES,
    HeldOut,
    brier_rows,
    certify,
    expected_calibration_error,
    log_loss_rows,
    loss_p_value,
    price_table,
)
from router.policy import choose_rows

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
    return HeldOut(p, tokens, correct, tokens, 2, np.full(size, True))


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
        ((_, price),) = (
            pair
            for pair in price_table(held_out(rng, 1500, noise), [max_loss], delta)
            if pair[0] == max_loss
        )
        if price is not None:
            certified += 1
            loss = true[:, 2].mean() - true[rows, choose_rows(p, tokens, price)].mean()
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
    certified = np.array([loss_p_value(row, max_loss) <= 0.1 for row in draws])
    assert certified.mean() <= 0.1
    assert (certified & (repeats.mean(axis=1) < -max_loss)).mean() <= 0.1


def test_p_values_of_clear_cases() -> None:
    assert loss_p_value(np.zeros(1000), 0.01) < 0.01
    assert loss_p_value(np.zeros(20), 0.01) > 0.5
    assert loss_p_value(np.full(1000, -0.5), 0.01) > 0.999
    assert loss_p_value(np.array([]), 0.01) == 1.0


def test_larger_losses_never_certify_smaller_prices() -> None:
    table = price_table(held_out(np.random.default_rng(1), 3000, 0.5), [0.0123], 0.1)
    assert 0.0123 in dict(table)
    assert list(table) == sorted(table, key=lambda pair: pair[0])
    values = [-1.0 if price is None else price for _, price in table]
    assert values == sorted(values)
    assert values[-1] > 0.5


def test_certification_stops_at_the_first_price_that_loses() -> None:
    size = 2000
    fine, bad = np.zeros(size), np.full(size, -0.5)
    differences = [fine, fine, bad] + [fine] * (len(PRICES) - 3)
    assert certify(differences, 0.01, 0.1) == PRICES[1]
    assert certify([bad] * len(PRICES), 0.01, 0.1) is None


def test_untrusted_prompts_get_the_baseline_in_the_certificate_too() -> None:
    sample = held_out(np.random.default_rng(5), 500, 0.5)
    untrusted = replace(sample, trusted=np.full(500, False))
    assert (untrusted.chosen(1000.0) == untrusted.baseline).all()
    assert (untrusted.differences(1000.0) == 0).all()
    assert (sample.chosen(1000.0) == 0).all()


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
