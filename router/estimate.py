"""The fitted model's evaluation: from a feature vector to P(correct) and tokens per effort.

Everything here is linear algebra on a handful of small arrays; fitting them is `router.fit`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, isfinite

import numpy as np
from numpy.typing import NDArray

from router.features import CONTEXT_FEATURES, FEATURE_NAMES, Prompt
from router.vocabulary import Vocabulary, Words

Array = NDArray[np.float64]
_MAX_LOG_TOKENS = 16.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one prompt is expected to need from one model, per effort.

    `difficulty` is 1 - the mean of P(correct) over the efforts; `tokens` are expected thinking
    tokens; `budget` is a high quantile of the thinking tokens of correct answers, times slack.
    """

    difficulty: float
    p_correct: Mapping[str, float]
    tokens: Mapping[str, float]
    budget: Mapping[str, int]


@dataclass(frozen=True)
class Frame:
    """How features (F,) were standardised, and their range when fitting, in standardised units."""

    center: Array
    scale: Array
    low: Array
    high: Array

    def standard(self, x: Array) -> Array:
        """Feature vectors (..., F) in units of the fit's standard deviations."""
        return (x - self.center) / self.scale

    def clipped(self, x: Array) -> Array:
        """The same, within the range that was seen when fitting."""
        return np.minimum(np.maximum(self.standard(x), self.low), self.high)


@dataclass(frozen=True)
class Parameters(Frame):
    """The fitted numbers for E efforts, F features and V words.

    `p_weights` (E, F), `p_bias` (E,): logits. `token_weights` (E, F), `token_bias` (E,):
    log(1 + tokens). `word_weights` (V, 2E): what each word adds to the logits, then to the logs.
    `smear` (E,): factor from median to mean tokens (Duan 1983).
    `spread` (E,): factor from median tokens to the high quantile of correct answers, which
    `slack` multiplies to give the budget.
    `range_limit`: the excess over the range beyond which a prompt is foreign; so is one of whose
    words a smaller share than `known_share` is in the vocabulary.
    """

    p_weights: Array
    p_bias: Array
    token_weights: Array
    token_bias: Array
    vocabulary: Vocabulary
    word_weights: Array
    smear: Array
    spread: Array
    slack: float
    range_limit: float
    known_share: float


@dataclass(frozen=True)
class Predictions:
    """Estimates for N prompts: P(correct), expected tokens and budgets, each (N, E)."""

    p_correct: Array
    tokens: Array
    budget: Array


def sigmoid(logits: Array) -> Array:
    """Probabilities, never quite 0 or 1."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))


def predict(parameters: Parameters, x: Array, words: Sequence[Words]) -> Predictions:
    """Estimates for N prompts: features (N, F), each clipped into the fit's range, and words."""
    z = parameters.clipped(x)
    efforts = len(parameters.p_bias)
    said = parameters.vocabulary.project(words, parameters.word_weights)
    logits = z @ parameters.p_weights.T + parameters.p_bias + said[:, :efforts]
    median = z @ parameters.token_weights.T + parameters.token_bias + said[:, efforts:]
    typical = np.exp(np.minimum(median, _MAX_LOG_TOKENS))
    tokens = np.maximum(typical * parameters.smear - 1.0, 0.0)
    enough = np.maximum(typical * parameters.spread - 1.0, 0.0)
    budget = np.ceil(parameters.slack * enough - _ROUNDING)
    return Predictions(sigmoid(logits), tokens, budget)


def estimate(parameters: Parameters, efforts: tuple[str, ...], prompt: Prompt) -> Estimate:
    """The estimate for one prompt: `predict` without array overhead.

    Raises ArithmeticError if it is not a finite number.
    """
    z = parameters.clipped(prompt.x)
    rows, weights = parameters.vocabulary.vector(prompt.words)
    said = weights @ parameters.word_weights[rows]
    logits = (parameters.p_weights @ z + parameters.p_bias + said[: len(efforts)]).tolist()
    medians = (parameters.token_weights @ z + parameters.token_bias + said[len(efforts) :]).tolist()
    if not isfinite(sum(logits) + sum(medians)):
        raise ArithmeticError("the estimate is not a finite number")
    p = [1.0 / (1.0 + exp(-min(max(logit, -30.0), 30.0))) for logit in logits]
    typical = [exp(min(median, _MAX_LOG_TOKENS)) for median in medians]
    tokens = [
        max(middle * smear - 1.0, 0.0)
        for middle, smear in zip(typical, parameters.smear.tolist(), strict=True)
    ]
    budget = [
        ceil(parameters.slack * max(middle * spread - 1.0, 0.0) - _ROUNDING)
        for middle, spread in zip(typical, parameters.spread.tolist(), strict=True)
    ]
    return Estimate(
        difficulty=1.0 - sum(p) / len(p),
        p_correct=dict(zip(efforts, p, strict=True)),
        tokens=dict(zip(efforts, tokens, strict=True)),
        budget=dict(zip(efforts, budget, strict=True)),
    )


def range_excess(frame: Frame, x: Array) -> Array:
    """How far each feature of (..., F) lies outside the fitted range, in standard deviations.

    Features of the surrounding conversation do not count: fits are mostly on single turns.
    """
    z = frame.standard(x)
    beyond = np.maximum(np.maximum(frame.low - z, z - frame.high), 0.0)
    beyond[..., len(FEATURE_NAMES) - CONTEXT_FEATURES :] = 0.0
    return beyond


def foreign(parameters: Parameters, prompt: Prompt) -> str | None:
    """Why a prompt is foreign to the fit, if it is."""
    beyond = range_excess(parameters, prompt.x)
    if beyond.sum() > parameters.range_limit:
        return FEATURE_NAMES[int(beyond.argmax())]
    share = parameters.vocabulary.known_share(prompt.words)
    if share < parameters.known_share:
        return f"{share:.0%} of its words are known"
    return None


def trusted(parameters: Parameters, x: Array, words: Sequence[Words]) -> NDArray[np.bool_]:
    """Which of N prompts (N,) are not `foreign`."""
    near = range_excess(parameters, x).sum(axis=1) <= parameters.range_limit
    known = np.array([parameters.vocabulary.known_share(said) for said in words])
    return near & (known >= parameters.known_share)
