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
        ((0.5, 0.0, 0.6), 0.1, "none"),  # equal utilities: the price is per 1,000 tokens
        ((0.5, 0.0, 0.601), 0.1, "high"),
    ],
)
def test_the_effort_of_the_highest_utility_is_chosen(
    p: tuple[float, ...], price: float, expected: str
) -> None:
    assert choose(estimate_of(p), price, EFFORTS) == expected
    assert EFFORTS[choose_rows(np.array([p]), np.array([TOKENS]), price)[0]] == expected


def test_only_the_given_efforts_are_compared() -> None:
    assert choose(estimate_of((0.2, 0.8, 0.9)), 0.0, ("none", "low")) == "low"


def test_costs_come_from_tokens_not_from_effort_names() -> None:
    assert choose(estimate_of((0.9, 0.9, 0.9), (50.0, 5.0, 500.0)), 0.1, EFFORTS) == "low"


def test_the_explanation_compares_with_the_most_accurate_other_effort() -> None:
    estimate = estimate_of((0.2, 0.8, 0.9))
    assert explain(estimate, 0.15, EFFORTS, "low") == (
        "low: P(correct) 0.800 for 100 thinking tokens; "
        "high: P(correct) 0.900 for 1000 thinking tokens; "
        "price 0.15 P(correct) per 1,000 thinking tokens"
    )
    assert explain(estimate, 0.0, ("low",), "low") == (
        "low: P(correct) 0.800 for 100 thinking tokens"
    )


@pytest.mark.parametrize(
    ("options", "price"),
    [
        ({"max_loss": 0.03}, 0.02),  # between two tabled losses: the stricter
        ({"max_loss": 0.01}, 0.02),
        ({"max_loss": 0.05 - 1e-15}, 0.3),  # a rounding error below a tabled loss
        ({"max_loss": 0.005}, None),
        ({"max_loss": 1.0}, 0.3),
        ({"max_loss": 0.03, "tokens": 1}, 0.02),  # tokens belong to mode budget
        ({"mode": "price", "price": 0.7}, 0.7),
        ({"mode": "price", "price": 0.0}, 0.0),
        ({"mode": "budget", "tokens": 1000}, 0.0),
        ({"mode": "budget", "tokens": 300}, 0.1),
        ({"mode": "budget", "tokens": 299}, 5.0),
        ({"mode": "budget", "tokens": 0.5}, 5.0),  # not reachable: the cheapest
        ({"mode": "price", "price": 0.7, "surcharge": 0.2}, 0.9),
        ({"max_loss": 0.03, "surcharge": 0.5}, 0.52),
        ({"max_loss": 0.0, "surcharge": 0.5}, None),
    ],
)
def test_each_mode_has_its_price(options: dict[str, Any], price: float | None) -> None:
    assert PRICES.price_for(Policy(**options)) == pytest.approx(price)


def test_without_certified_prices_there_is_none() -> None:
    assert Prices((), PRICES.frontier).price_for(Policy()) is None


def test_mode_fixed_is_accepted_with_an_effort() -> None:
    assert Policy("fixed", effort="low").effort == "low"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "cheap"}, "policy mode 'cheap' is not quality, price, budget or fixed"),
        ({"max_loss": -0.1}, "max_loss is a share of accuracy from 0 to 1, not -0.1"),
        ({"max_loss": 1.5}, "max_loss is a share of accuracy from 0 to 1, not 1.5"),
        ({"max_loss": float("nan")}, "max_loss is a share of accuracy from 0 to 1, not nan"),
        ({"price": -0.1}, "price is accuracy per 1,000 tokens, 0 or more, not -0.1"),
        ({"price": float("inf")}, "price is accuracy per 1,000 tokens, 0 or more, not inf"),
        ({"mode": "fixed"}, "policy mode fixed needs an effort"),
        ({"mode": "budget"}, "policy mode budget needs the mean tokens per request, above 0"),
        (
            {"mode": "budget", "tokens": 0},
            "policy mode budget needs the mean tokens per request, above 0",
        ),
        (
            {"mode": "budget", "tokens": float("nan")},
            "policy mode budget needs the mean tokens per request, above 0",
        ),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Policy(**options)
    assert str(refusal.value) == message
