"""Evaluation of the fitted parameters: from prompts to P(correct), tokens and budgets per effort.

Linear algebra on a handful of small arrays; knows nothing of how the parameters were fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, exp, inf, isfinite

import numpy as np

from router.arrays import Array, Mask
from router.feature_descriptions import FEATURE_DESCRIPTIONS
from router.features import FEATURE_NAMES
from router.parameters import Parameters, Projected
from router.vocabulary import Words

_MAX_LOGIT = 30.0
_MAX_LOG_TOKENS = 16.0
_ROUNDING = 1e-6
_ASSISTANT_TURNS = FEATURE_NAMES.index("assistant_turns")
_NOTHING = 1e-3
"""An excess that rounding explains."""

_SEEN_SHARE = 0.01
"""The share of the fit's prompts from which a prompt with, or without, a system message is known"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one prompt is expected to need from one model, per effort.

    `difficulty`: 1 - the mean of P(correct) over the efforts, without composite ones. `tokens`:
    expected thinking tokens. `budget`: a high quantile of the thinking tokens of correct answers,
    times `slack`, and for a prompt with an unknown word, of an unknown kind or with more of the
    assistant's turns than any of the fit's, the fit's largest; an effort without one has no bound,
    and composite efforts have none.
    """

    difficulty: float
    p_correct: Mapping[str, float]
    tokens: Mapping[str, float]
    budget: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Abstention:
    """In place of an estimate that the router does not trust: why, and no figure of it."""

    cause: str


@dataclass(frozen=True)
class Predictions:
    """Estimates for N prompts: P(correct), expected tokens and budgets, each (N, E).

    A budget of inf is none.
    """

    p_correct: Array
    tokens: Array
    budget: Array


def sigmoid(logits: Array) -> Array:
    """Probabilities, never quite 0 or 1."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)))


def predict(
    parameters: Parameters, x: Array, words: Sequence[Words], kinds: Sequence[str | None]
) -> Predictions:
    """Estimates for N prompts from their features (N, F), clipped to the fit's range.

    `words` (N,) are of the routed text, `kinds` (N,) of traffic.
    """
    z = parameters.clipped(x)
    efforts = len(parameters.p_bias)
    offsets, strange = parameters.kinds.rows(kinds, efforts)
    word_sum = parameters.vocabulary.project(words, parameters.word_weights) + offsets
    logits = z @ parameters.p_weights.T + parameters.p_bias + word_sum[:, :efforts]
    log_tokens = z @ parameters.token_weights.T + parameters.token_bias + word_sum[:, efforts:]
    median = np.exp(np.minimum(log_tokens, _MAX_LOG_TOKENS))
    tokens = np.maximum(median * parameters.smear - 1.0, 0.0)
    tokens = np.minimum(tokens, parameters.top_tokens)
    own = budgets(log_tokens, parameters.spread, parameters.slack)
    unknown = strange | [parameters.vocabulary.known_share(counts) < 1.0 for counts in words]
    unknown |= np.abs(parameters.standardize(x) - z)[:, _ASSISTANT_TURNS] > _NOTHING
    top = parameters.top_budget
    budget = np.where(unknown[:, np.newaxis], top, np.minimum(own, top))
    budget[:, efforts - parameters.composites :] = inf
    return Predictions(sigmoid(logits), tokens, budget)


def budgets(log_tokens: Array, spread: Array, slack: float) -> Array:
    """Budgets (N, E) of prompts whose words are all known, from log(1 + tokens) (N, E)."""
    median = np.exp(np.minimum(log_tokens, _MAX_LOG_TOKENS))
    return np.ceil(slack * np.maximum(median * spread - 1.0, 0.0) - _ROUNDING) + 0.0  # no -0.0


def estimate(
    parameters: Parameters,
    efforts: tuple[str, ...],
    projected: Projected,
    kind: str | None = None,
) -> Estimate:
    """The estimate for one prompt: `predict` without array overhead (`@` costs twice `dot`).

    Raises ArithmeticError if it is not a finite number.
    """
    folded, size = parameters.folded, len(efforts)
    sums = projected.sums
    offsets = parameters.kinds.find(kind)
    if offsets is not None:
        sums = sums + offsets
    values: list[float] = sums.tolist()
    if not isfinite(sum(values)):
        raise ArithmeticError("the estimate is not a finite number")
    p_correct: dict[str, float] = {}
    tokens: dict[str, float] = {}
    budget: dict[str, int] = {}
    has_unknown = projected.known_share < 1.0 or parameters.kinds.unknown(kind)
    has_unknown |= float(projected.excess[_ASSISTANT_TURNS]) > _NOTHING
    plain = size - parameters.composites
    for effort, logit, log_tokens, (smear, spread, top, top_tokens) in zip(
        efforts, values[:size], values[size:], folded.factors, strict=True
    ):
        p_correct[effort] = 1.0 / (1.0 + exp(-min(max(logit, -_MAX_LOGIT), _MAX_LOGIT)))
        median = exp(min(log_tokens, _MAX_LOG_TOKENS))
        tokens[effort] = min(max(median * smear - 1.0, 0.0), top_tokens)
        quantile = parameters.slack * max(median * spread - 1.0, 0.0) - _ROUNDING
        bound = top if has_unknown else min(ceil(quantile), top)
        if bound < inf and len(tokens) <= plain:
            budget[effort] = int(bound)
    difficulty = 1.0 - sum(islice(p_correct.values(), plain)) / plain
    return Estimate(difficulty, p_correct, tokens, budget)


def out_of_distribution(parameters: Parameters, projected: Projected) -> str | None:
    """What makes a prompt unlike those of the fit: a feature, or its words; else None."""
    per_unit = parameters.folded.per_unit
    if projected.excess.dot(per_unit) > parameters.range_limit:
        return (
            f"by {FEATURE_DESCRIPTIONS[FEATURE_NAMES[int((projected.excess * per_unit).argmax())]]}"
        )
    if projected.shortfall > parameters.known_words.tolerance:
        required = projected.known_share + projected.shortfall - parameters.known_words.tolerance
        share = f"only {projected.known_share:.0%} of its words are in the vocabulary"
        return f"{share}; like prompts have {required:.0%} at least"
    return None


def unlike_by_system(parameters: Parameters, has_system: bool) -> str | None:
    """What the same says of a prompt before it is read: whether there is a system message."""
    if has_system and parameters.system_share < _SEEN_SHARE:
        return "it has a system message"
    if not has_system and parameters.system_share > 1.0 - _SEEN_SHARE:
        return "it has no system message"
    return None


def in_distribution(
    parameters: Parameters, excess: Array, shortfall: Array, has_system: Mask
) -> Mask:
    """Which of N prompts are unlike those of the fit by neither of the two functions above.

    Args:
        parameters: the fit's.
        excess: each prompt's summed `range_excess`, (N,).
        shortfall: `Parameters.shortfalls`, (N,).
        has_system: whether it has a system or developer message, (N,).
    """
    system_share = np.where(has_system, parameters.system_share, 1.0 - parameters.system_share)
    return (
        (excess <= parameters.range_limit)
        & (shortfall <= parameters.known_words.tolerance)
        & (system_share >= _SEEN_SHARE)
    )
