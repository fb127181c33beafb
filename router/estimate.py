"""Evaluation of the fitted parameters: from prompts to P(correct), tokens and budgets per effort.

Linear algebra on a handful of small arrays; knows nothing of how the parameters were fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, isfinite

import numpy as np

from router.arrays import Array, Mask
from router.features import FEATURE_NAMES
from router.parameters import Parameters, Projected, range_excess
from router.vocabulary import Words

_MAX_LOGIT = 30.0
_MAX_LOG_TOKENS = 16.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one prompt is expected to need from one model, per effort.

    `difficulty`: 1 - the mean of P(correct) over the efforts. `tokens`: expected thinking tokens.
    `budget`: a high quantile of the thinking tokens of correct answers, times `slack`.
    """

    difficulty: float
    p_correct: Mapping[str, float]
    tokens: Mapping[str, float]
    budget: Mapping[str, int]


@dataclass(frozen=True)
class Predictions:
    """Estimates for N prompts: P(correct), expected tokens and budgets, each (N, E)."""

    p_correct: Array
    tokens: Array
    budget: Array


def sigmoid(logits: Array) -> Array:
    """Probabilities, never quite 0 or 1."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)))


def predict(parameters: Parameters, x: Array, words: Sequence[Words]) -> Predictions:
    """Estimates for N prompts from their features (N, F), clipped to the fit's range, and words."""
    z = parameters.clipped(x)
    efforts = len(parameters.p_bias)
    word_sum = parameters.vocabulary.project(words, parameters.word_weights)
    logits = z @ parameters.p_weights.T + parameters.p_bias + word_sum[:, :efforts]
    log_tokens = z @ parameters.token_weights.T + parameters.token_bias + word_sum[:, efforts:]
    median = np.exp(np.minimum(log_tokens, _MAX_LOG_TOKENS))
    tokens = np.maximum(median * parameters.smear - 1.0, 0.0)
    quantile = np.maximum(median * parameters.spread - 1.0, 0.0)
    budget = np.ceil(parameters.slack * quantile - _ROUNDING)
    return Predictions(sigmoid(logits), tokens, budget)


def estimate(parameters: Parameters, efforts: tuple[str, ...], projected: Projected) -> Estimate:
    """The estimate for one prompt: `predict` without array overhead (`@` costs twice `dot`).

    Raises ArithmeticError if it is not a finite number.
    """
    folded, size = parameters.folded, len(efforts)
    values: list[float] = (
        folded.weights.dot(projected.clipped) + folded.bias + projected.word_sum
    ).tolist()
    if not isfinite(sum(values)):
        raise ArithmeticError("the estimate is not a finite number")
    p_correct: dict[str, float] = {}
    tokens: dict[str, float] = {}
    budget: dict[str, int] = {}
    for effort, logit, log_tokens, (smear, spread) in zip(
        efforts, values[:size], values[size:], folded.factors, strict=True
    ):
        p_correct[effort] = 1.0 / (1.0 + exp(-min(max(logit, -_MAX_LOGIT), _MAX_LOGIT)))
        median = exp(min(log_tokens, _MAX_LOG_TOKENS))
        tokens[effort] = max(median * smear - 1.0, 0.0)
        budget[effort] = ceil(parameters.slack * max(median * spread - 1.0, 0.0) - _ROUNDING)
    return Estimate(1.0 - sum(p_correct.values()) / size, p_correct, tokens, budget)


def out_of_distribution(parameters: Parameters, projected: Projected) -> str | None:
    """What makes a prompt unlike those of the fit: a feature's name or its words; else None."""
    per_unit = parameters.folded.per_unit
    if projected.excess.dot(per_unit) > parameters.range_limit:
        return f"feature {FEATURE_NAMES[int((projected.excess * per_unit).argmax())]}"
    if projected.known_share < parameters.known_share:
        return f"only {projected.known_share:.0%} of its words are in the vocabulary"
    return None


def in_distribution(parameters: Parameters, x: Array, words: Sequence[Words]) -> Mask:
    """Which of N prompts (N,) are not `out_of_distribution`; features are (N, F)."""
    in_range = range_excess(parameters, x).sum(axis=1) <= parameters.range_limit
    known_share = np.array([parameters.vocabulary.known_share(counts) for counts in words])
    return in_range & (known_share >= parameters.known_share)
