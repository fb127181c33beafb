from typing import Any

import numpy as np
import pytest

from router.estimate import Estimate
from router.policy import FrontierPoint, Policy, Prices, choose, choose_rows, explain

EFFORTS = ("none", "low", "high")
TOKENS = (0.0, 100.0, 1000.0)
PRICES = Prices(
    ((0.0, None), (0.01, 0.02), (0.05, 0.3)),
    (
        FrontierPoint(0.0, 0.9, 900.0),
        FrontierPoint(0.1, 0.85, 300.0),
        FrontierPoint(5.0, 0.3, 10.0),
    ),
)


def estimate_of(p: tuple[float, ...], tokens: tuple[float, ...] = TOKENS) -> Estimate:
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
        ((0.2, 0.9, 0.5), 0.0, "low"),  # more thinking can lower accuracy
        ((0.85, 0.9, 0.9), 0.1, "low"),  # five points for 100 tokens
    ],
)
def test_the_effort_of_the_highest_utility_is_chosen(
    p: tuple[float, ...], price: float, expected: str
) -> None:
    estimate = estimate_of(p)
    assert choose(estimate, price, EFFORTS) == expected
    assert EFFORTS[choose_rows(np.array([p]), np.array([TOKENS]), price)[0]] == expected
    assert explain(estimate, price, EFFORTS, expected).startswith(f"{expected}: P(correct)")


def test_only_the_given_efforts_are_compared() -> None:
    assert choose(estimate_of((0.2, 0.8, 0.9)), 0.0, ("none", "low")) == "low"
    assert explain(estimate_of((0.2, 0.8, 0.9)), 0.0, ("low",), "low") == (
        "low: P(correct) 0.800 for 100 thinking tokens"
    )


def test_costs_come_from_tokens_not_from_effort_names() -> None:
    assert choose(estimate_of((0.9, 0.9, 0.9), (50.0, 5.0, 500.0)), 0.1, EFFORTS) == "low"


@pytest.mark.parametrize(
    ("policy", "price"),
    [
        (Policy(max_loss=0.03), 0.02),  # between two tabled losses: the stricter
        (Policy(max_loss=0.005), None),
        (Policy(max_loss=1.0), 0.3),
        (Policy("price", price=0.7), 0.7),
        (Policy("budget", tokens=1000), 0.0),
        (Policy("budget", tokens=300), 0.1),
        (Policy("budget", tokens=299), 5.0),
        (Policy("budget", tokens=1), 5.0),  # not reachable: the cheapest
    ],
)
def test_each_mode_has_its_price(policy: Policy, price: float | None) -> None:
    assert PRICES.price_for(policy) == price
    assert Prices((), PRICES.frontier).price_for(Policy()) is None


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
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)
