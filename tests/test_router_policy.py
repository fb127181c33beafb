from typing import Any

import numpy as np
import pytest

from router.estimate import Estimate
from router.policy import (
    ALWAYS_BASELINE,
    FrontierPoint,
    OperatingPoint,
    Policy,
    Prices,
    choose,
    choose_rows,
    choose_rows_at,
    hopeless_below,
    is_hopeless,
)
from router.reason import why

EFFORTS = ("none", "low", "high")
TOKENS = (0.0, 100.0, 1000.0)
PRICES = Prices(
    (
        (0.0, ALWAYS_BASELINE),
        (0.01, OperatingPoint(0.02, 0.1, bounded=False, dearer=False)),
        (0.05, OperatingPoint(0.3)),
    ),
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
    assert chosen(p, OperatingPoint(price), "high") == expected


def chosen(p: tuple[float, ...], point: OperatingPoint, baseline: str) -> str:
    """The choice for one prompt, which is also that for many."""
    effort = choose(estimate_of(p), point, EFFORTS, baseline)
    column = EFFORTS.index(baseline)
    rows = np.array([p, p]), np.array([TOKENS, TOKENS])
    choices = [choose_rows_at(*rows, point, column)]
    if point == OperatingPoint(point.price):
        choices.append(choose_rows(*rows, point.price))
    assert [[EFFORTS[index] for index in indices] for indices in choices] == [
        [effort, effort] for _ in choices
    ]
    return effort


@pytest.mark.parametrize(
    ("p", "margin", "baseline", "expected"),
    [
        ((0.2, 0.95, 0.9), 0.0, "high", "low"),
        ((0.2, 0.95, 0.9), 0.1, "high", "high"),  # a gain of five points is within the margin
        ((0.2, 0.95, 0.8), 0.1, "high", "low"),
        ((0.2, 0.8, 0.9), 0.0, "low", "low"),  # more accurate, but dearer than the baseline
        ((0.9, 0.8, 0.95), 0.0, "low", "none"),
        ((1.0, 1.0, 0.0), float("inf"), "high", "high"),
    ],
)
def test_the_baseline_is_left_only_for_a_gain_above_the_margin(
    p: tuple[float, ...], margin: float, baseline: str, expected: str
) -> None:
    assert chosen(p, OperatingPoint(0.0, margin, dearer=False), baseline) == expected


def test_a_price_may_choose_dearer_efforts_than_the_baseline() -> None:
    assert chosen((0.2, 0.8, 0.9), OperatingPoint(0.01), "low") == "high"


def test_only_the_given_efforts_are_compared() -> None:
    point = OperatingPoint()
    assert choose(estimate_of((0.2, 0.8, 0.9)), point, ("none", "low"), "low") == "low"
    assert choose(estimate_of((0.2, 0.8, 0.9)), point, ("low",), "low") == "low"


def test_a_guard_adds_to_the_margin_of_its_prompt() -> None:
    p, tokens = np.array([(0.2, 0.95, 0.9)] * 3), np.array([TOKENS] * 3)
    point = OperatingPoint(0.0, 0.02, dearer=False)
    rows = choose_rows_at(p, tokens, point, 2, np.array([0.0, 0.02, 0.04]))
    assert [EFFORTS[index] for index in rows] == ["low", "low", "high"]


@pytest.mark.parametrize(
    ("efforts", "hopeless", "expected"),
    [
        (EFFORTS, 0.31, True),
        (EFFORTS, 0.3, False),  # the best of them is as good as the bound
        (("none", "low"), 0.25, True),
        (("low",), 0.9, False),  # one effort leaves no choice
    ],
)
def test_efforts_are_hopeless_where_the_best_of_them_is_below_the_bound(
    efforts: tuple[str, ...], hopeless: float, expected: bool
) -> None:
    prices = Prices((), PRICES.frontier, hopeless)
    assert is_hopeless(estimate_of((0.1, 0.2, 0.3)), efforts, prices) is expected


def test_hopeless_is_below_a_quarter_of_the_best_accuracy() -> None:
    assert hopeless_below(0.8) == pytest.approx(0.2)


def test_costs_come_from_tokens_not_from_effort_names() -> None:
    estimate = estimate_of((0.9, 0.9, 0.9), (50.0, 5.0, 500.0))
    assert choose(estimate, OperatingPoint(0.1), EFFORTS, "high") == "low"
    cheaper = OperatingPoint(0.0, dearer=False)
    assert (
        choose(estimate_of((0.9, 0.5, 0.4), (50.0, 5.0, 500.0)), cheaper, EFFORTS, "low") == "low"
    )


@pytest.mark.parametrize(
    ("p", "point", "efforts", "effort", "told"),
    [
        (
            (0.2, 0.8, 0.9),
            OperatingPoint(0.15),
            EFFORTS,
            "low",
            "low should be right 80.0 % of the time with 100 thinking tokens, high 90.0 % with "
            "1,000. The policy pays at most 667 thinking tokens for the 10.0 points that high "
            "adds; it would take 900 more",
        ),
        (
            (0.2, 0.3, 0.9),
            OperatingPoint(0.1),
            EFFORTS,
            "high",
            "high should be right 90.0 % of the time with 1,000 thinking tokens, low 30.0 % with "
            "100. The policy pays at most 6,000 thinking tokens for the 60.0 points that high "
            "adds; it takes 900 more",
        ),
        (
            (0.2, 0.8, 0.8004),
            OperatingPoint(1.58),
            EFFORTS,
            "low",
            "low should be right 80.0 % of the time with 100 thinking tokens, high 80.0 % with "
            "1,000. With 900 more, high adds too little, less than 0.1 points",
        ),
        (
            (0.2, 0.8, 0.7996),
            OperatingPoint(0.1),
            EFFORTS,
            "low",
            "low should be right 80.0 % of the time with 100 thinking tokens, high 80.0 % with "
            "1,000. With 900 more, high adds nothing",
        ),
        (
            (0.2, 0.8, 0.9),
            OperatingPoint(0.0, 0.05, dearer=False),
            EFFORTS,
            "high",
            "high should be right 90.0 % of the time with 1,000 thinking tokens, low 80.0 % with "
            "100. The policy puts no price on thinking, and high adds 15.0 points (10.0 points "
            "expected, 5.0 points in favour of the baseline)",
        ),
        (
            (0.2, 0.8, 0.9),
            OperatingPoint(),
            ("low",),
            "low",
            "low should be right 80.0 % of the time with 100 thinking tokens",
        ),
    ],
)
def test_the_reason_compares_with_the_likeliest_other_effort(
    p: tuple[float, ...], point: OperatingPoint, efforts: tuple[str, ...], effort: str, told: str
) -> None:
    assert why(estimate_of(p), point, efforts, "high", effort) == told


def test_numbers_of_the_reason_add_up() -> None:
    estimate = estimate_of((0.2, 0.8, 0.8), (1.0, 2.6, 44.4))
    told = why(estimate, OperatingPoint(0.1), EFFORTS, "high", "low")
    assert "with 3 thinking tokens, high 80.0 % with 44. With 41 more, high adds nothing" in told
    estimate = estimate_of((0.01, 0.02961, 0.88744), (1.0, 106.6, 459.4))  # 352.8 more, for 85.78
    told = why(estimate, OperatingPoint(2.4), EFFORTS, "high", "high")
    assert "right 88.7 % of the time with 459 thinking tokens, low 3.0 % with 107" in told
    assert "357 thinking tokens for the 85.7 points that high adds; it takes 352 more" in told


def test_a_price_next_to_none_is_told_as_none() -> None:
    told = why(estimate_of((0.2, 0.8, 0.9)), OperatingPoint(5e-324), EFFORTS, "high", "high")
    assert "The policy puts no price on thinking" in told


def test_the_reason_leaves_out_efforts_that_may_not_be_chosen() -> None:
    point = OperatingPoint(0.1, dearer=False)
    told = why(estimate_of((0.2, 0.8, 0.99)), point, ("low", "high"), "low", "low")
    assert told.endswith("thinking tokens. The other efforts would take more than the baseline low")


@pytest.mark.parametrize(
    ("options", "price"),
    [
        ({"max_loss": 0.03}, 0.02),  # between two tabled losses: the stricter
        ({"max_loss": 0.01}, 0.02),
        ({"max_loss": 0.05 - 1e-15}, 0.3),  # a rounding error below a tabled loss
        ({"max_loss": 0.005}, 0.0),
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
    ],
)
def test_each_mode_has_its_price(options: dict[str, Any], price: float) -> None:
    assert PRICES.point_for(Policy(**options)).price == pytest.approx(price)


@pytest.mark.parametrize("surcharge", [0.0, 0.5])
def test_a_margin_belongs_to_a_certified_loss_and_stays_under_load(surcharge: float) -> None:
    margins = [
        PRICES.point_for(Policy(max_loss=loss, surcharge=surcharge)).margin
        for loss in (0.0, 0.01, 0.05)
    ]
    assert margins == [float("inf"), 0.1, 0.0]
    assert PRICES.point_for(Policy("price", price=0.5, surcharge=surcharge)).margin == 0.0
    always = PRICES.point_for(Policy(max_loss=0.005, surcharge=surcharge))
    assert chosen((1.0, 1.0, 0.0), always, "high") == "high"


def test_without_a_certified_loss_it_is_always_the_baseline() -> None:
    assert Prices((), PRICES.frontier).point_for(Policy()) == ALWAYS_BASELINE


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
