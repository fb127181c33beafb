"""The fitted model's evaluation: from a feature vector to P(correct) and tokens per effort.

Everything here is linear algebra on a handful of small arrays; `router.fitting.fit` fits them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        return self.within(self.standard(x))

    def within(self, z: Array) -> Array:
        """Standardised features, moved into the range where they are beyond it."""
        return np.minimum(np.maximum(z, self.low), self.high)


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

    @cached_property
    def unscaled(self) -> "FoldedParameters":
        """The same for features as they are measured: 13 array operations a prompt, not 22."""
        weights = np.vstack([self.p_weights, self.token_weights]) / self.scale
        bias = np.concatenate([self.p_bias, self.token_bias]) - weights @ self.center
        least, most = (self.center + self.scale * bound for bound in (self.low, self.high))
        per_unit = 1.0 / self.scale
        per_unit[-CONTEXT_FEATURES:] = 0.0
        factors = tuple(zip(self.smear.tolist(), self.spread.tolist(), strict=True))
        return FoldedParameters(least, most, per_unit, weights, bias, factors)

    def place(self, prompt: Prompt) -> "Place":
        """Where a prompt lies in the fit."""
        unscaled, x = self.unscaled, prompt.x
        near = np.minimum(np.maximum(x, unscaled.least), unscaled.most)
        rows, weights = self.vocabulary.vector(prompt.words)
        said = weights.dot(self.word_weights.take(rows, 0))
        share = len(rows) / len(prompt.words) if prompt.words else 1.0
        return Place(near, np.abs(x - near), said, share)


@dataclass(frozen=True, slots=True)
class FoldedParameters:
    """Parameters for features in their own units.

    `least` and `most` (F,) are the fit's range; `per_unit` (F,) are standard deviations a unit, 0
    where leaving the range does not count. `weights` (2E, F), `bias` (2E,): logits, then the logs.
    `factors` are `smear` and `spread` of each effort.
    """

    least: Array
    most: Array
    per_unit: Array
    weights: Array
    bias: Array
    factors: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one prompt lies in a fit.

    `near` (F,) are its features within the fit's range, `beyond` (F,) how far they are from it, in
    their own units; `said` (2E,) is what its words add, `known_share` the share of its distinct
    words that is known.
    """

    near: Array
    beyond: Array
    said: Array
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


def estimate(parameters: Parameters, efforts: tuple[str, ...], place: Place) -> Estimate:
    """The estimate for one prompt: `predict` without array overhead (`@` costs twice `dot`).

    Raises ArithmeticError if it is not a finite number.
    """
    unscaled, many = parameters.unscaled, len(efforts)
    logs: list[float] = (unscaled.weights.dot(place.near) + unscaled.bias + place.said).tolist()
    if not isfinite(sum(logs)):
        raise ArithmeticError("the estimate is not a finite number")
    p_correct: dict[str, float] = {}
    tokens: dict[str, float] = {}
    budget: dict[str, int] = {}
    for effort, logit, median, (smear, spread) in zip(
        efforts, logs[:many], logs[many:], unscaled.factors, strict=True
    ):
        p_correct[effort] = 1.0 / (1.0 + exp(-min(max(logit, -30.0), 30.0)))
        typical = exp(min(median, _MAX_LOG_TOKENS))
        tokens[effort] = max(typical * smear - 1.0, 0.0)
        budget[effort] = ceil(parameters.slack * max(typical * spread - 1.0, 0.0) - _ROUNDING)
    return Estimate(1.0 - sum(p_correct.values()) / many, p_correct, tokens, budget)


def range_excess(frame: Frame, x: Array) -> Array:
    """How far each feature of (..., F) lies outside the fitted range, in standard deviations.

    Features of the surrounding conversation do not count: fits are mostly on single turns.
    """
    z = frame.standard(x)
    beyond = np.abs(z - frame.within(z))
    beyond[..., -CONTEXT_FEATURES:] = 0.0
    return beyond


def foreign(parameters: Parameters, place: Place) -> str | None:
    """Why a prompt is foreign to the fit, if it is."""
    per_unit = parameters.unscaled.per_unit
    if place.beyond.dot(per_unit) > parameters.range_limit:
        return FEATURE_NAMES[int((place.beyond * per_unit).argmax())]
    if place.known_share < parameters.known_share:
        return f"{place.known_share:.0%} of its words are known"
    return None


def trusted(parameters: Parameters, x: Array, words: Sequence[Words]) -> NDArray[np.bool_]:
    """Which of N prompts (N,) are not `foreign`."""
    near = range_excess(parameters, x).sum(axis=1) <= parameters.range_limit
    known = np.array([parameters.vocabulary.known_share(said) for said in words])
    return near & (known >= parameters.known_share)
