"""How many of a prompt's words a fit should know: the limit from which a prompt is foreign to it.

Kinds of prompts differ in how many rare words they have: lists of words to sort have many, and
arithmetic hardly any. One limit for all would let foreign prompts of common words pass.
"""

from dataclasses import dataclass

import numpy as np

from router.arrays import Array


@dataclass(frozen=True)
class KnownWords:
    """The share of known words that is expected of a prompt, linear in its F features and V words.

    `weights` (F,): per standardised feature. `word_weights` (V,): per word. `bias`: at the mean
    features. `tolerance`: the largest shortfall of a prompt like those of the fit.
    """

    weights: Array
    word_weights: Array
    bias: float
    tolerance: float

    @classmethod
    def at_least(cls, share: float, features: int, words: int) -> "KnownWords":
        """One limit for all prompts."""
        return cls(np.zeros(features), np.zeros(words), 1.0, 1.0 - share)


def shortfall(expected: Array, known_share: Array | float) -> Array:
    """By how much known shares (...) fall short of the `expected` ones; none expects over 1."""
    return np.minimum(expected, 1.0) - known_share
