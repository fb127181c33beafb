"""The signed-rank interval: against the definition of the test, and how often it is right."""

import math
import random
from itertools import product

import pytest

from router.signed_rank import shift


def known(*values: float) -> list[tuple[float, float]]:
    return [(value, value) for value in values]


def p_value(values: list[float], below: float) -> float:
    """P(W >= observed) of the test that the shift is at most `below`, counted over all signs."""
    ranks = [rank for rank, _ in enumerate(sorted(values, key=lambda value: abs(value - below)), 1)]
    signs = [value > below for value in sorted(values, key=lambda value: abs(value - below))]
    observed = sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
    sums = [
        sum(rank for rank, sign in zip(ranks, draw, strict=True) if sign)
        for draw in product((False, True), repeat=len(values))
    ]
    return sum(total >= observed for total in sums) / len(sums)


@pytest.mark.parametrize("size", [5, 7, 9])
def test_the_lower_bound_is_where_the_exact_test_begins_to_refuse(size: int) -> None:
    drawn = random.Random(size)
    values = [drawn.gauss(1, 2) for _ in range(size)]
    lower = shift(known(*values), 0.05).lower
    assert p_value(values, lower - 1e-9) <= 0.05
    assert p_value(values, lower + 1e-9) > 0.05


def test_too_few_pairs_bound_nothing() -> None:
    assert shift(known(1, 2, 3, 4), 0.05) == (-math.inf, 2.5, math.inf)
    assert shift(known(1, 2, 3, 4, 5), 0.05).lower == 1
    assert shift([], 0.05)[::2] == (-math.inf, math.inf)


def test_a_pair_that_is_far_out_moves_little() -> None:
    usual = shift(known(*range(1, 11)), 0.05)
    spoilt = shift(known(*range(1, 10), 1e9), 0.05)
    assert spoilt.lower == usual.lower
    assert spoilt.estimate < 2 * usual.estimate


def test_a_difference_with_an_open_end_bounds_that_side_only() -> None:
    pairs = known(1, 2, 3, 4, 5, 6, 7)
    opened = shift([*pairs, (8, math.inf)], 0.01)
    closed = shift([*pairs, (8, 8)], 0.01)
    assert opened.lower == closed.lower > 0
    assert closed.upper < opened.upper == math.inf


@pytest.mark.parametrize("size", [8, 20, 80])
def test_the_bounds_are_wrong_no_more_often_than_alpha(size: int) -> None:
    """On differences with such tails that they have no mean."""
    drawn, draws, wrong = random.Random(1), 400, 0
    for _ in range(draws):
        values = [math.tan(math.pi * (drawn.random() - 0.5)) for _ in range(size)]
        wrong += shift(known(*values), 0.05).lower > 0
    assert wrong / draws < 0.08  # 0.05 and 2.8 standard errors
