import numpy as np
import pytest

from router.bootstrap import (
    bootstrap_interval,
    percentile_interval,
    resampled_rows,
    resampled_weights,
)


def test_resampled_rows_are_the_given_number_of_reproducible_draws() -> None:
    draws = list(resampled_rows(50, 20, seed=3))
    assert [draw.shape for draw in draws] == [(50,)] * 20
    assert {int(row) for draw in draws for row in draw} == set(range(50))
    assert len({tuple(draw.tolist()) for draw in draws}) == 20
    again = resampled_rows(50, 20, seed=3)
    assert all((a == b).all() for a, b in zip(draws, again, strict=True))
    assert not (draws[0] == next(resampled_rows(50, 1, seed=4))).all()


def test_the_first_weights_are_equal_and_the_others_are_resampled_counts() -> None:
    weights = resampled_weights(50, 20)
    assert weights.shape == (21, 50)
    assert weights[0] == pytest.approx(np.full(50, 1 / 50))
    assert weights.sum(axis=1) == pytest.approx(np.ones(21))
    assert (weights * 50).round(9) == pytest.approx((weights * 50).round())
    assert (weights[1:] == 0).any(axis=1).all()  # a draw of 50 rows from 50 misses some


def test_a_percentile_interval_leaves_out_a_fortieth_on_each_side() -> None:
    assert percentile_interval(np.arange(1001.0)) == (25.0, 975.0)
    assert percentile_interval([2.0, 2.0]) == (2.0, 2.0)


@pytest.mark.slow
def test_both_forms_cover_the_mean_of_a_normal_sample_in_95_percent() -> None:
    """300 samples of 60: the standard error of the coverage is 1.3 points."""
    rng = np.random.default_rng(1)
    weights = resampled_weights(60, 400)
    covered = np.zeros(2)
    for _ in range(300):
        values = rng.normal(size=60)
        by_rows = bootstrap_interval(60, lambda rows, v=values: float(v[rows].mean()), 400)
        by_weights = percentile_interval((weights @ values)[1:])
        covered += [low <= 0.0 <= high for low, high in (by_rows, by_weights)]
    assert (covered / 300 > 0.90).all()
    assert (covered / 300 < 0.98).all()


def test_an_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(3).normal(size=400)
    low, high = bootstrap_interval(400, lambda rows: float(values[rows].mean()))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(400), rel=0.2)
