from typing import Any

import numpy as np
import pytest

from router.estimate import Estimate
from router.policy import Policy, Prices, Step, choose, choose_rows, explain

EFFORTS = ("none", "low", "high")
TOKENS = (0.0, 100.0, 1000.0)
PRICES = Prices(
    ((0.0, None), (0.01, 0.02), (0.05, 0.3)),
    (Step(0.0, 0.9, 900.0), Step(0.1, 0.85, 300.0), Step(5.0, 0.3, 10.0)),
)


def given(p: tuple[float, ...], tokens: tuple[float, ...] = TOKENS) -> Estimate:
    return Estimate(
        0.5,
        dict(zip(EFFORTS, p, strict=True)),
        dict(zip(EFFORTS, tokens, strict=True)),
        dict.fromkeys(EFFORTS, 10),
    )


@pytest.mark.parametrize(
    ("p", "price", "expected"),
    [
        ((0.2, 0.8, 0.9), 0.0, "high"),
        ((0.2, 0.8, 0.9), 0.15, "low"),
        ((0.2, 0.8, 0.9), 10.0, "none"),
        ((0.9, 0.9, 0.9), 0.0, "none"),
        ((0.2, 0.9, 0.5), 0.0, "low"),  # more thinking can hurt
        ((0.85, 0.9, 0.9), 0.1, "low"),  # a few tokens are not worth five points
    ],
)
def test_the_effort_of_the_best_worth_is_chosen(
    p: tuple[float, ...], price: float, expected: str
) -> None:
    estimate = given(p)
    assert choose(estimate, price, EFFORTS) == expected
    assert EFFORTS[choose_rows(np.array([p]), np.array([TOKENS]), price)[0]] == expected
    assert explain(estimate, price, EFFORTS, expected).startswith(f"{expected}: P(correct)")


def test_only_the_efforts_at_hand_count() -> None:
    assert choose(given((0.2, 0.8, 0.9)), 0.0, ("none", "low")) == "low"
    assert explain(given((0.2, 0.8, 0.9)), 0.0, ("low",), "low") == (
        "low: P(correct) 0.800 for 100 thinking tokens"
    )


def test_the_cheapest_is_so_by_tokens_not_by_name() -> None:
    assert choose(given((0.9, 0.9, 0.9), (50.0, 5.0, 500.0)), 0.1, EFFORTS) == "low"


@pytest.mark.parametrize(
    ("policy", "price"),
    [
        (Policy(max_loss=0.03), 0.02),  # between two tabled losses the stricter holds
        (Policy(max_loss=0.005), None),
        (Policy(max_loss=1.0), 0.3),
        (Policy("price", price=0.7), 0.7),
        (Policy("budget", tokens=1000), 0.0),
        (Policy("budget", tokens=300), 0.1),
        (Policy("budget", tokens=299), 5.0),
        (Policy("budget", tokens=1), 5.0),  # out of reach: as cheap as it goes
    ],
)
def test_each_mode_sets_the_price_in_its_own_way(policy: Policy, price: float | None) -> None:
    assert PRICES.of(policy) == price
    assert Prices((), PRICES.frontier).of(Policy()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "cheap"},
        {"max_loss": -0.1},
        {"max_loss": float("nan")},
        {"price": float("inf")},
        {"mode": "fixed"},
        {"mode": "budget"},
        {"mode": "budget", "tokens": 0},
        {"mode": "budget", "tokens": float("nan")},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)
