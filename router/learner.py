"""The learners behind a fit: P(correct) by pooled logistic regression, tokens by ridge.

The only seam to scikit-learn, imported when fitting (extra `[fit]`). In and out go standardised
features (N, F) and arrays per effort (N, E); both learners leave plain weights and biases.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from router.estimate import Array

_INTERCEPT_SCALE = 10.0
"""Large, so that the efforts' own levels go almost unpenalised."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Strength 1/`c` of the ridge penalty; `own` scales each effort's deviation from the shared
    slope (0: one slope for all efforts).
    """

    c: float
    own: float


SETTINGS: tuple[Setting, ...] = (
    Setting(1e-5, 0.3),
    *(Setting(c, own) for c in (0.001, 0.01, 0.1, 1.0) for own in (0.3, 1.0)),
)
"""What cross-fitting chooses from; the first is nearly "no features at all"."""


@dataclass(frozen=True)
class Linear:
    """weights (E, F) and bias (E,) of one linear predictor per effort."""

    weights: Array
    bias: Array

    def __call__(self, z: Array) -> Array:
        """Values (N, E) for features (N, F)."""
        return z @ self.weights.T + self.bias


def _design(z: Array, efforts: int, own: float) -> Array:
    """Rows (N*E, F + E + E*F): shared slopes, the effort's level, its own slopes."""
    size, width = z.shape
    blocks = np.zeros((size, efforts, width + efforts + efforts * width))
    for effort in range(efforts):
        start = width + efforts + effort * width
        blocks[:, effort, :width] = z
        blocks[:, effort, width + effort] = _INTERCEPT_SCALE
        blocks[:, effort, start : start + width] = own * z
    return blocks.reshape(size * efforts, -1)


def fit_logits(z: Array, successes: Array, counts: Array, setting: Setting) -> Linear:
    """Logits of P(correct). Every seen cell weighs one, however often it was sampled.

    Half a success and half a failure are spread over each effort, so constant labels stay finite.
    """
    efforts = counts.shape[1]
    seen = counts > 0
    share = np.divide(successes, counts, out=np.zeros_like(counts), where=seen)
    cells = seen.sum(axis=0)
    prior = 0.5 / np.maximum(cells, 1)
    positive = np.where(seen, share + prior, 0.0).ravel()
    negative = np.where(seen, 1.0 - share + prior, 0.0).ravel()
    design = _design(z, efforts, setting.own)
    linear_model: Any = importlib.import_module("sklearn.linear_model")
    model: Any = linear_model.LogisticRegression(
        C=setting.c, solver="newton-cholesky", max_iter=200, tol=1e-4
    )
    labels = np.repeat([1, 0], len(design))
    model.fit(np.vstack([design, design]), labels, np.concatenate([positive, negative]))
    coefficients = np.asarray(model.coef_[0], dtype=np.float64)
    return _unpack(coefficients, float(model.intercept_[0]), z.shape[1], efforts, setting.own)


def _unpack(coefficients: Array, intercept: float, width: int, efforts: int, own: float) -> Linear:
    shared = coefficients[:width]
    bias = intercept + _INTERCEPT_SCALE * coefficients[width : width + efforts]
    return Linear(shared + own * coefficients[width + efforts :].reshape(efforts, width), bias)


def fit_log_tokens(z: Array, tokens: Array) -> Linear:
    """log(1 + tokens) per effort by ridge regression, its penalty chosen by leave-one-out."""
    linear_model: Any = importlib.import_module("sklearn.linear_model")
    weights = np.zeros((tokens.shape[1], z.shape[1]))
    bias = np.zeros(tokens.shape[1])
    for effort in range(tokens.shape[1]):
        seen = np.isfinite(tokens[:, effort])
        target = np.log1p(tokens[seen, effort])
        if np.ptp(target) < 1e-12:
            bias[effort] = target[0]
            continue
        model: Any = linear_model.RidgeCV(alphas=np.logspace(-1, 4, 11))
        model.fit(z[seen], target)
        weights[effort] = model.coef_
        bias[effort] = model.intercept_
    return Linear(weights, bias)
