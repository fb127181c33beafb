from typing import Any

import numpy as np
import pytest

from router.estimate import Estimate
from router.policy import Policy, certified_epsilon, choose, choose_rows, price_rows

EFFORTS = ("none", "low", "high")
TOKENS = (0.0, 100.0, 1000.0)


def given(p: tuple[float, ...], tokens: tuple[float, ...] = TOKENS) -> Estimate:
    return Estimate(
        0.5,
        dict(zip(EFFORTS, p, strict=True)),
        dict(zip(EFFORTS, tokens, strict=True)),
        dict.fromkeys(EFFORTS, 10),
    )


@pytest.mark.parametrize(
    ("p", "epsilon", "expected"),
    [
        ((0.2, 0.8, 0.9), 0.0, "high"),
        ((0.2, 0.8, 0.9), 0.11, "low"),
        ((0.2, 0.8, 0.9), 1.0, "none"),
        ((0.9, 0.9, 0.9), 0.0, "none"),
        ((0.2, 0.9, 0.5), 0.0, "low"),  # more thinking can hurt
        ((0.2, 0.9, 0.8), -0.05, "low"),
        ((0.2, 0.9, 0.8), -0.2, "high"),  # a negative epsilon is reluctance to leave the baseline
    ],
)
def test_quality_takes_the_cheapest_that_is_good_enough(
    p: tuple[float, ...], epsilon: float, expected: str
) -> None:
    choice = choose(given(p), Policy(), EFFORTS, epsilon, "high")
    assert choice.effort == expected
    assert expected in choice.reason
    tokens = np.array([[0.0, 100.0, 1000.0]])
    assert EFFORTS[choose_rows(np.array([p]), tokens, epsilon, 2)[0]] == expected


@pytest.mark.parametrize(("price", "expected"), [(0.0, "high"), (0.15, "low"), (10.0, "none")])
def test_price_weighs_accuracy_against_tokens(price: float, expected: str) -> None:
    p = (0.2, 0.8, 0.9)
    choice = choose(given(p), Policy("price", price=price), EFFORTS, 0.0, "high")
    assert choice.effort == expected
    tokens = np.array([[0.0, 100.0, 1000.0]])
    assert EFFORTS[price_rows(np.array([p]), tokens, price)[0]] == expected


def test_only_the_efforts_at_hand_count() -> None:
    assert choose(given((0.2, 0.8, 0.9)), Policy(), ("none", "low"), 0.0, "high").effort == "low"


def test_the_cheapest_is_so_by_tokens_not_by_name() -> None:
    assert (
        choose(given((0.9, 0.9, 0.9), (50.0, 5.0, 500.0)), Policy(), EFFORTS, 0.0, "high").effort
        == "low"
    )


def test_epsilon_of_a_loss_between_two_tabled_ones_is_the_stricter() -> None:
    table = {0.0: None, 0.01: 0.02, 0.05: 0.3}
    assert certified_epsilon(table, 0.03) == 0.02
    assert certified_epsilon(table, 0.005) is None
    assert certified_epsilon(table, 1.0) == 0.3
    assert certified_epsilon({}, 0.1) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "cheap"},
        {"max_loss": -0.1},
        {"max_loss": float("nan")},
        {"price": float("inf")},
        {"mode": "fixed"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)
