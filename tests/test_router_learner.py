"""The numpy learners find the same optima as scikit-learn."""

from typing import Any

import numpy as np
import pytest

from router.arrays import Array
from router.fitting.learner import fit_log_tokens, fit_logits, fit_share

EFFORTS, FEATURES, PROBLEMS = 3, 8, 500
BIAS_PENALTY = 1e-2


@pytest.fixture(scope="module")
def linear_model() -> Any:
    return pytest.importorskip("sklearn.linear_model")


@pytest.fixture(scope="module")
def standardised() -> Array:
    z = np.random.default_rng(0).normal(size=(PROBLEMS, FEATURES))
    return (z - z.mean(axis=0)) / z.std(axis=0)


@pytest.fixture(scope="module")
def logits(standardised: Array) -> Array:
    """True logits (N, E) of efforts that share part of their slopes."""
    rng = np.random.default_rng(1)
    slopes = rng.normal(size=(1, FEATURES)) + 0.5 * rng.normal(size=(EFFORTS, FEATURES))
    return standardised @ slopes.T + np.array([-1.0, 0.0, 1.5])


def pooled_design(z: Array, c: float) -> Array:
    """Predictors (N * E, (1 + E) * (F + 1)) that make one regression of the E regressions.

    The first block of columns holds the shared slopes, then one block per effort its deviations.
    scikit-learn has one penalty for all of a row, so the constant is scaled to give its weight the
    bias penalty instead of 1 / c.
    """
    constant = np.full((len(z), 1), 1.0 / np.sqrt(c * BIAS_PENALTY))
    block = np.hstack([z, constant])
    deviations = np.kron(np.eye(EFFORTS)[:, np.newaxis, :], block[:, np.newaxis, :])
    by_effort = deviations.reshape(EFFORTS, len(z), -1)
    return np.vstack([np.hstack([block, rows]) for rows in by_effort])


@pytest.mark.parametrize("c", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("samples", [1, 4])
def test_fit_logits_is_the_pooled_logistic_regression_of_scikit_learn(
    standardised: Array, logits: Array, c: float, samples: int, linear_model: Any
) -> None:
    """Equal to 1e-7 in logits that span about 10; 5 % more penalty would differ by more.

    Both minimise the same convex function. Newton's method stops after a step below 1e-4, and its
    quadratic convergence leaves an error of about the step squared, 1e-8 (measured: below 1e-9).
    """
    rng = np.random.default_rng(2)
    chance = 1 / (1 + np.exp(-logits))
    counts = np.full(logits.shape, float(samples))
    counts[rng.random(logits.shape) < 0.1] = 0.0  # efforts without generations
    successes = rng.binomial(counts.astype(int), chance).astype(float)
    observed = (counts > 0).astype(float)
    share = np.divide(successes, counts, out=np.zeros_like(counts), where=counts > 0)
    prior = 0.5 / observed.sum(axis=0)
    positive, negative = observed * (share + prior), observed * (1 - share + prior)

    design = pooled_design(standardised, c)
    reference = linear_model.LogisticRegression(
        C=c, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=200
    ).fit(
        np.vstack([design, design]),
        np.repeat([1, 0], len(design)),
        sample_weight=np.concatenate([positive.T.ravel(), negative.T.ravel()]),
    )

    expected = (design @ reference.coef_[0]).reshape(EFFORTS, -1).T
    assert np.ptp(expected) > 1.0
    fitted = fit_logits(standardised, successes, counts, c)(standardised)
    assert fitted == pytest.approx(expected, abs=1e-7)


def test_fit_log_tokens_is_the_leave_one_out_ridge_of_scikit_learn(
    standardised: Array, logits: Array, linear_model: Any
) -> None:
    """Both choose the same penalty, and have a closed solution: equal up to rounding."""
    noise = np.random.default_rng(3).normal(size=logits.shape)
    tokens = np.exp(logits + 5 + noise)
    tokens[::7, 0] = np.nan
    fitted = fit_log_tokens(standardised, tokens)
    for effort in range(EFFORTS):
        observed = np.isfinite(tokens[:, effort])
        reference = linear_model.RidgeCV(alphas=[10.0**power for power in range(-1, 5)]).fit(
            standardised[observed], np.log1p(tokens[observed, effort])
        )
        assert fitted.weights[effort] == pytest.approx(reference.coef_, rel=1e-8)
        assert fitted.bias[effort] == pytest.approx(reference.intercept_, rel=1e-8)


def test_fit_share_estimates_each_row_from_the_others(
    standardised: Array, logits: Array, linear_model: Any
) -> None:
    share = 1 / (1 + np.exp(-logits[:, 0]))
    linear, left_out = fit_share(standardised, share)
    reference = linear_model.RidgeCV(
        alphas=[10.0**power for power in range(-1, 5)], store_cv_results=True
    ).fit(standardised, share)
    squares = reference.cv_results_
    best = int(squares.mean(axis=0).argmin())
    assert linear.weights[0] == pytest.approx(reference.coef_, rel=1e-8)
    assert (share - left_out) ** 2 == pytest.approx(squares[:, best], rel=1e-6, abs=1e-12)
