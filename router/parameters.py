"""The fitted numbers of a router, and how one prompt projects onto them.

`router.fitting.fit` fits them, `router.artifact` stores them, `router.estimate` evaluates them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from router.arrays import Array
from router.features import CONTEXT_FEATURES, Prompt
from router.kind_offsets import NO_KINDS, KindOffsets
from router.known_words import KnownWords, shortfall
from router.vocabulary import Vocabulary, Words


@dataclass(frozen=True)
class Standardizer:
    """Standardisation of F features; all arrays are (F,).

    `center` (mean) and `scale` (standard deviation) are in each feature's unit; `low` and `high`,
    the range of the fit, are in standard deviations.
    """

    center: Array
    scale: Array
    low: Array
    high: Array

    def standardize(self, x: Array) -> Array:
        """Features (..., F) in standard deviations from the mean of the fit."""
        z = x - self.center
        z /= self.scale
        return z

    def clip(self, z: Array) -> Array:
        """Standardised features (..., F), clipped to the range of the fit."""
        return np.minimum(np.maximum(z, self.low), self.high)

    def clipped(self, x: Array) -> Array:
        """Features (..., F) standardised, then clipped to the range of the fit."""
        z = self.standardize(x)
        return np.minimum(np.maximum(z, self.low, out=z), self.high, out=z)


@dataclass(frozen=True)
class Parameters(Standardizer):
    """The fitted numbers for E efforts, F features and V words.

    `p_weights` (E, F), `p_bias` (E,): logits of P(correct) from standardised features.
    `token_weights` (E, F), `token_bias` (E,): log(1 + thinking tokens).
    `word_weights` (V, 2E): what each word adds to the logits, then to the log tokens.
    `smear` (E,): factor from median to mean tokens (Duan, JASA 78, 1983).
    `spread` (E,): factor from median tokens to a high quantile of the correct answers' tokens;
    times `slack` it gives the budget.
    `top_budget` (E,): the largest budget, in tokens; the budget where a word is unknown.
    `top_tokens` (E,): the largest estimate of tokens; inf: no bound.
    `range_limit`: the summed excess over the range, in standard deviations, from which a prompt
    is out of distribution. `known_words`: the same for the share of words that the vocabulary has.
    `system_share`: share of the fit's prompts with a system message.
    `kinds`: what the kinds of traffic add. `composites`: how many of the E are composite efforts,
    the last ones, which have no budget of the router's.
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
    top_budget: Array
    range_limit: float
    known_words: KnownWords
    system_share: float
    top_tokens: Array
    kinds: KindOffsets = NO_KINDS
    composites: int = 0

    @cached_property
    def folded(self) -> "FoldedParameters":
        """The standardisation folded into the weights: 13 array operations per prompt, not 22."""
        known = self.known_words
        weights = np.vstack([self.p_weights, self.token_weights, known.weights]) / self.scale
        bias = np.concatenate([self.p_bias, self.token_bias, [known.bias]])
        bias -= weights @ self.center
        word_weights = np.column_stack([self.word_weights, known.word_weights])
        lowest, highest = (self.center + self.scale * bound for bound in (self.low, self.high))
        per_unit = 1.0 / self.scale
        per_unit[-CONTEXT_FEATURES:] = 0.0
        factors = tuple(
            zip(
                self.smear.tolist(),
                self.spread.tolist(),
                self.top_budget.tolist(),
                self.top_tokens.tolist(),
                strict=True,
            )
        )
        return FoldedParameters(lowest, highest, per_unit, weights, bias, word_weights, factors)

    def shortfalls(self, x: Array, words: Sequence[Words], known_share: Array) -> Array:
        """How many fewer words than expected N prompts have in the vocabulary, as a share (N,).

        Args:
            x: features, (N, F).
            words: of the routed text, (N,).
            known_share: the share of words in the vocabulary, (N,).
        """
        by_words = self.vocabulary.project(words, self.known_words.word_weights[:, np.newaxis])
        expected = self.clipped(x) @ self.known_words.weights + self.known_words.bias
        return shortfall(expected + by_words[:, 0], known_share)

    def project(self, prompt: Prompt) -> "Projected":
        """One prompt's features and words as the fit sees them."""
        folded, x = self.folded, prompt.x
        clipped = np.minimum(np.maximum(x, folded.lowest), folded.highest)
        rows, weights = self.vocabulary.vector(prompt.words)
        sums = weights.dot(folded.word_weights.take(rows, 0))
        sums += folded.weights.dot(clipped)
        sums += folded.bias
        known_share = 1.0
        if len(rows) < len(prompt.words):
            known_share = self.vocabulary.known_share(prompt.words)
        if prompt.read is not prompt.words:
            known_share = min(known_share, self.vocabulary.known_share(prompt.read))
        lacking = float(shortfall(sums[-1], known_share)) if known_share < 1.0 else 0.0
        return Projected(sums[:-1], np.abs(x - clipped), known_share, lacking)


@dataclass(frozen=True, slots=True)
class FoldedParameters:
    """Parameters for features in their own units.

    `lowest` and `highest` (F,): the range of the fit. `per_unit` (F,): standard deviations per
    unit, 0 for features whose excess does not count. `weights` (2E+1, F), `bias` (2E+1,) and
    `word_weights` (V, 2E+1): of logits, of log tokens, and of the expected share of known words.
    `factors`: `smear`, `spread`, `top_budget` and `top_tokens` of each effort.
    """

    lowest: Array
    highest: Array
    per_unit: Array
    weights: Array
    bias: Array
    word_weights: Array
    factors: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Projected:
    """One prompt in the coordinates of a fit.

    `sums` (2E,): logits, then log tokens. `excess` (F,): the features' distances from the range of
    the fit, in their own units. `known_share`: the share of words that the vocabulary has;
    `shortfall`: how much less that is than expected, at most 0 where it has all.
    """

    sums: Array
    excess: Array
    known_share: float
    shortfall: float


def range_excess(standardizer: Standardizer, x: Array) -> Array:
    """How far each feature of (..., F) lies outside the range of the fit, in standard deviations.

    Features of the surrounding conversation count as 0: most fits are on single turns.
    """
    z = standardizer.standardize(x)
    excess = np.abs(z - standardizer.clip(z))
    excess[..., -CONTEXT_FEATURES:] = 0.0
    return excess
