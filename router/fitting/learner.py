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
_NEWTON_STEPS = 30
_STEP_TOLERANCE = 1e-4
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


def fit_logits(z: Array, successes: Array, counts: Array, c: float) -> Linear:
    """Logits of P(correct): one logistic regression whose efforts share part of their slopes.

    Predictors `z` (N, F); `successes` and `counts` (N, E) of generations. Shared slopes and each
    effort's deviations from them have the same penalty, 1 / `c`. Each cell with generations has
    weight 1, however many there are. Half a success and half a failure are spread over each effort,
    so that constant labels give finite logits. Newton's method on the penalised likelihood; the
    Hessian consists of one F x F block per effort.
    """
    efforts, width = counts.shape[1], z.shape[1] + 1
    observed = (counts > 0).astype(np.float64)
    prior = 0.5 / np.maximum(observed.sum(axis=0), 1)
    share = np.divide(successes, counts, out=np.zeros_like(counts), where=counts > 0)
    positive = observed * (share + prior)
    total = observed * (1.0 + 2.0 * prior)
    design = np.hstack([z, np.ones((len(z), 1))])
    penalty = np.full((efforts + 1, width), 1.0 / c)
    penalty[:, -1] = _BIAS_PENALTY
    theta = np.zeros((efforts + 1, width))
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(design @ (theta[0] + theta[1:]).T)
        own = (total * p - positive).T @ design
        gradient = np.vstack([own.sum(axis=0), own]) + penalty * theta
        step = _newton_step(design, total * p * (1 - p), gradient, penalty)
        theta -= step / max(1.0, float(np.abs(step).max()) / 5.0)
        if np.abs(step).max() < _STEP_TOLERANCE:
            break
    slopes = theta[0] + theta[1:]
    return Linear(slopes[:, :-1], slopes[:, -1])


def _newton_step(design: Array, weights: Array, gradient: Array, penalty: Array) -> Array:
    """Newton's step (E+1, F) of the shared slopes and of each effort's own.

    With B the curvature (F, F) of one effort and P the penalty, the Hessian has B in the effort's
    row and column and in the shared corner, plus P on its diagonal. Eliminating each effort's block
    A = B + P leaves one F x F system for the shared slopes (the Schur complement), instead of one
    of (E+1) F.

    Args:
        design: features with a constant, (N, F).
        weights: of each prompt at each effort, (N, E).
        gradient: of the penalised likelihood, (E+1, F).
        penalty: on each parameter, (E+1, F).
    """
    roots = [design * root[:, np.newaxis] for root in np.sqrt(weights).T]
    blocks = np.stack([root.T @ root for root in roots])
    own = penalty[1:]
    diagonal = np.array(range(design.shape[1]), dtype=np.intp)
    blocks[:, diagonal, diagonal] += own
    right = np.zeros((*blocks.shape[:2], blocks.shape[2] + 1))
    right[:, diagonal, diagonal] = own
    right[:, :, -1] = gradient[1:]
    solved = np.linalg.solve(blocks, right)
    by_penalty, by_gradient = solved[:, :, :-1], solved[:, :, -1]  # A^-1 P, A^-1 g
    shared = -(own[:, :, np.newaxis] * by_penalty).sum(axis=0)
    shared[diagonal, diagonal] += penalty[0] + own.sum(axis=0)
    target = gradient[0] - (gradient[1:] - own * by_gradient).sum(axis=0)
    step = np.array(np.linalg.solve(shared, target), dtype=np.float64)
    return np.vstack([step, by_gradient + by_penalty @ step - step])


def fit_log_tokens(z: Array, tokens: Array) -> Linear:
    """log(1 + tokens) by one ridge regression per effort; `z` (N, F), `tokens` (N, E) or nan."""
    weights = np.zeros((tokens.shape[1], z.shape[1]))
    bias = np.zeros(tokens.shape[1])
    for effort in range(tokens.shape[1]):
        observed = np.isfinite(tokens[:, effort])
        weights[effort], bias[effort] = _ridge(z[observed], np.log1p(tokens[observed, effort]))
    return Linear(weights, bias)


def _ridge(z: Array, target: Array) -> tuple[Array, float]:
    """Ridge regression with the penalty of the lowest leave-one-out error, from one SVD."""
    mean, target_mean = z.mean(axis=0), float(target.mean())
    u, singular, vt = np.linalg.svd(z - mean, full_matrices=False)
    rotated = u.T @ (target - target_mean)

    def leave_one_out(penalty: float) -> float:
        shrink = singular**2 / (singular**2 + penalty)
        leverage = (u**2) @ shrink + 1.0 / len(z)
        residual = (target - target_mean - u @ (shrink * rotated)) / np.maximum(
            1.0 - leverage, 1e-3
        )
        return float((residual**2).mean())

    penalty = min(_RIDGE_PENALTIES, key=leave_one_out)
    slopes = vt.T @ (singular / (singular**2 + penalty) * rotated)
    return slopes, target_mean - float(mean @ slopes)
