"""The learners of a fit: P(correct) by pooled logistic regression, tokens by ridge regression.

Both take standardised predictors (N, F) and values per effort (N, E); they return weights and
biases. They know nothing of prompts, folds or files. tests/test_router_learner.py holds them equal
to scikit-learn, so that fitting a router does not need it.
"""

import importlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from router.arrays import Array
from router.estimate import sigmoid

_BIAS_PENALTY = 1e-2
_NEWTON_STEPS = 100
_STEP_TOLERANCE = 1e-7
_MAX_CONTRACTION = 0.2
"""A step that shrinks less than this from the former one renews the Hessian."""
_ROWS = 2_048
"""Prompts whose products are summed up together, to stay in the processor's cache."""
_RIDGE_PENALTIES = tuple(10.0**power for power in range(-1, 5))


@dataclass(frozen=True, slots=True)
class Setting:
    """A candidate of cross-fitting.

    `c`: inverse strength of the ridge penalty on slopes. `words`: whether the word directions are
    predictors besides the features.
    """

    c: float
    words: bool


INTERCEPT_ONLY = Setting(1e-5, words=False)
"""So strong a penalty that hardly more than each effort's mean is left."""
SETTINGS: tuple[Setting, ...] = (
    INTERCEPT_ONLY,
    *(Setting(c, words) for words in (False, True) for c in (0.001, 0.01, 0.1, 1.0, 10.0)),
)


@dataclass(frozen=True)
class Linear:
    """One linear predictor per effort: `weights` (E, F) and `bias` (E,)."""

    weights: Array
    bias: Array

    def __call__(self, z: Array) -> Array:
        """Values (N, E) for predictors (N, F)."""
        return z @ self.weights.T + self.bias


def one_thread() -> AbstractContextManager[object]:
    """Limit the BLAS to one thread, where threadpoolctl (extra `[fit]`) is installed.

    The matrices of a fit are small: on two busy cores, several threads made it 50 times slower.
    """
    try:
        control: Any = importlib.import_module("threadpoolctl")
    except ImportError:
        return nullcontext()
    return control.threadpool_limits(1)


def fit_logits(
    z: Array, successes: Array, counts: Array, c: float, start: Linear | None = None
) -> Linear:
    """Logits of P(correct): one logistic regression whose efforts share part of their slopes.

    Predictors `z` (N, F); `successes` and `counts` (N, E) of generations. Shared slopes and each
    effort's deviations from them have the same penalty, 1 / `c`. Each cell with generations has
    weight 1, however many there are. Half a success and half a failure are spread over each effort,
    so that constant labels give finite logits. Newton's method on the penalised likelihood, from
    the solution `start` of a like problem; a Hessian is used as long as it makes good steps.
    """
    efforts, width = counts.shape[1], z.shape[1] + 1
    observed = (counts > 0).astype(np.float64)
    prior = 0.5 / np.maximum(observed.sum(axis=0), 1)
    share = np.divide(successes, counts, out=np.zeros_like(counts), where=counts > 0)
    positive = observed * (share + prior)
    total = observed * (1.0 + 2.0 * prior)
    penalty = np.full((efforts + 1, width), 1.0 / c)
    penalty[:, -1] = _BIAS_PENALTY
    theta = _split(start, efforts, width)
    newton: _Newton | None = None
    former = 0.0
    for _ in range(_NEWTON_STEPS):
        slopes = theta[0] + theta[1:]
        p = sigmoid(z @ slopes[:, :-1].T + slopes[:, -1])
        excess = total * p - positive
        own = np.column_stack([excess.T @ z, excess.sum(axis=0)])
        gradient = np.vstack([own.sum(axis=0), own]) + penalty * theta
        if newton is None:
            newton = _Newton(z, total * p * (1 - p), penalty)
        step = newton.step(gradient)
        size = float(np.abs(step).max())
        theta -= step / max(1.0, size / 5.0)
        if size < _STEP_TOLERANCE:
            break
        if size > max(_MAX_CONTRACTION * former, _STEP_TOLERANCE):
            newton = None
        former = size
    slopes = theta[0] + theta[1:]
    return Linear(slopes[:, :-1], slopes[:, -1])


def _split(start: Linear | None, efforts: int, width: int) -> Array:
    """Shared and own parameters (E+1, F) of a former solution, maybe on fewer predictors."""
    theta = np.zeros((efforts + 1, width))
    if start is not None:
        theta[1:, : start.weights.shape[1]] = start.weights
        theta[1:, -1] = start.bias
        theta[0] = theta[1:].sum(axis=0) / (efforts + 1)
        theta[1:] -= theta[0]
    return theta


class _Newton:
    """Newton's steps (E+1, F) of the shared slopes and of each effort's own, at one Hessian.

    With B the curvature (F, F) of one effort and P the penalty, the Hessian has B in the effort's
    row and column and in the shared corner, plus P on its diagonal. Eliminating each effort's block
    A = B + P leaves one F x F system for the shared slopes (the Schur complement), instead of one
    of (E+1) F.

    Args:
        z: predictors, (N, F-1); the last of the F slopes is of a constant.
        weights: of each prompt at each effort, (N, E).
        penalty: on each parameter, (E+1, F).
    """

    def __init__(self, z: Array, weights: Array, penalty: Array) -> None:
        blocks = _curvatures(z, weights)
        self._own = own = penalty[1:]
        diagonal = np.arange(penalty.shape[1], dtype=np.intp)
        blocks[:, diagonal, diagonal] += own
        self._inverses = np.array(np.linalg.inv(blocks), dtype=np.float64)
        self._by_penalty = self._inverses * own[:, np.newaxis, :]  # A^-1 P
        shared = -(own[:, :, np.newaxis] * self._by_penalty).sum(axis=0)
        shared[diagonal, diagonal] += penalty[0] + own.sum(axis=0)
        self._shared = np.array(np.linalg.inv(shared), dtype=np.float64)

    def step(self, gradient: Array) -> Array:
        """The step at a gradient (E+1, F) of the penalised likelihood."""
        by_gradient = np.einsum("efg,eg->ef", self._inverses, gradient[1:])
        target = gradient[0] - (gradient[1:] - self._own * by_gradient).sum(axis=0)
        step = self._shared @ target
        return np.vstack([step, by_gradient + self._by_penalty @ step - step])


def _curvatures(z: Array, weights: Array) -> Array:
    """The weighted products (E, F, F) of predictors (N, F-1) with a constant, by weights (N, E).

    In single precision: the gradient alone decides where the steps end.
    """
    size, width = len(z), z.shape[1] + 1
    blocks = np.zeros((weights.shape[1], width, width))
    for start in range(0, size, _ROWS):
        rows = np.ones((min(_ROWS, size - start), width), np.float32)
        rows[:, :-1] = z[start : start + _ROWS]
        scales = weights[start : start + _ROWS].astype(np.float32)
        for effort, scale in enumerate(scales.T):
            blocks[effort] += rows.T @ (rows * scale[:, np.newaxis])
    return blocks


def fit_log_tokens(z: Array, tokens: Array) -> Linear:
    """log(1 + tokens) by one ridge regression per effort; `z` (N, F), `tokens` (N, E) or nan."""
    weights = np.zeros((tokens.shape[1], z.shape[1]))
    bias = np.zeros(tokens.shape[1])
    observed = np.isfinite(tokens)
    everywhere = _Ridge(z) if observed.all(axis=0).sum() > 1 else None
    for effort, rows in enumerate(observed.T):
        ridge = everywhere if everywhere is not None and rows.all() else _Ridge(z[rows])
        weights[effort], bias[effort], _ = ridge.fit(np.log1p(tokens[rows, effort]))
    return Linear(weights, bias)


def fit_share(z: Array, share: Array) -> tuple[Linear, Array]:
    """A share (N,) by ridge regression on predictors `z` (N, F).

    And the estimate (N,) for each row by a regression on the others.
    """
    slopes, bias, residual = _Ridge(z).fit(share)
    return Linear(slopes[np.newaxis], np.array([bias])), share - residual


class _Ridge:
    """Ridge regressions on the same predictors, with the penalty of the lowest leave-one-out error.

    From the eigenvectors of the predictors' covariance, which the smallest penalty makes as exact
    as their singular vectors.
    """

    def __init__(self, z: Array) -> None:
        self._z, self._mean = z, z.mean(axis=0)
        gram = np.zeros((z.shape[1], z.shape[1]))
        for start in range(0, len(z), _ROWS):
            rows = z[start : start + _ROWS] - self._mean
            gram += rows.T @ rows
        squares, vectors = np.linalg.eigh(gram)
        self._squares = np.maximum(np.array(squares, dtype=np.float64), 0.0)
        self._vectors = np.array(vectors, dtype=np.float64)
        self._shrink = 1.0 / (self._squares[:, np.newaxis] + np.array(_RIDGE_PENALTIES))  # (F, P)

    def fit(self, target: Array) -> tuple[Array, float, Array]:
        """Slopes (F,) and bias for a target (N,), and the residual (N,) of each row left out."""
        mean = float(target.mean())
        centred = target - mean
        products = self._z.T @ centred - self._mean * centred.sum()
        rotated = self._vectors.T @ products
        coefficients = self._shrink * rotated[:, np.newaxis]
        residual = np.empty((len(target), len(_RIDGE_PENALTIES)))
        for start in range(0, len(target), _ROWS):
            rows = (self._z[start : start + _ROWS] - self._mean) @ self._vectors
            leverage = rows**2 @ self._shrink + 1.0 / len(target)
            within = target[start : start + _ROWS, np.newaxis] - mean - rows @ coefficients
            residual[start : start + _ROWS] = within / np.maximum(1.0 - leverage, 1e-3)
        best = int((residual**2).sum(axis=0).argmin())
        slopes = self._vectors @ coefficients[:, best]
        return slopes, mean - float(self._mean @ slopes), residual[:, best]
