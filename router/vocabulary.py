"""The words that a fit has seen, and how a prompt's words weigh: tf-idf, as numbers.

A vocabulary is learned from the prompts of a fit; it knows nothing of what is predicted from it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Words = Mapping[bytes, int]
"""Occurrences of each word in a text."""

_MOST_WORDS = 4_000
_FEWEST_PROMPTS = 2
_EVERYWHERE = 0.98
"""A word in more than this share of the prompts tells them apart no more."""
_LOGS = tuple(1.0 + log(n) for n in range(1, 257))


@dataclass(frozen=True)
class Vocabulary:
    """V words, each with its inverse document frequency (V,); V may be 0."""

    words: tuple[bytes, ...]
    idf: Array

    @cached_property
    def _index(self) -> Mapping[bytes, tuple[int, float]]:
        values: list[float] = self.idf.tolist()
        return {word: (i, values[i]) for i, word in enumerate(self.words)}

    @classmethod
    def learn(cls, prompts: Sequence[Words]) -> "Vocabulary":
        """The most frequent words of N prompts, each with log((1 + N) / (1 + prompts)) + 1."""
        frequency: Counter[bytes] = Counter()
        for words in prompts:
            frequency.update(words.keys())
        size = len(prompts)
        kept = [
            (word, count)
            for word, count in frequency.most_common(_MOST_WORDS)
            if _FEWEST_PROMPTS <= count <= _EVERYWHERE * size
        ]
        idf = [log((1 + size) / (1 + count)) + 1.0 for _, count in kept]
        return cls(tuple(word for word, _ in kept), np.array(idf, dtype=np.float64))

    def vector(self, words: Words) -> tuple[list[int], Array]:
        """The known words' rows, and their weights (1 + log count) idf, of Euclidean length 1."""
        index = self._index
        rows: list[int] = []
        weights: list[float] = []
        square = 0.0
        for word, count in words.items():
            found = index.get(word)
            if found is None:
                continue
            row, weight = found
            if count > 1:
                weight *= _LOGS[min(count, 256) - 1]
            rows.append(row)
            weights.append(weight)
            square += weight * weight
        return rows, np.array(weights) / (sqrt(square) or 1.0)

    def known_share(self, words: Words) -> float:
        """The share of a text's distinct words that is in the vocabulary; 1 where it has none."""
        return len(words.keys() & self._index.keys()) / len(words) if words else 1.0

    def project(self, prompts: Sequence[Words], columns: Array) -> Array:
        """Word vectors (N, V) times `columns` (V, K), without ever holding the (N, V) matrix."""
        found = np.zeros((len(prompts), columns.shape[1]))
        for row, words in enumerate(prompts):
            rows, weights = self.vector(words)
            found[row] = weights @ columns[rows]
        return found

    def matrix(self, prompts: Sequence[Words]) -> NDArray[np.float32]:
        """Word vectors (N, V), dense."""
        found = np.zeros((len(prompts), len(self.words)), dtype=np.float32)
        for row, words in enumerate(prompts):
            rows, weights = self.vector(words)
            found[row, rows] = weights
        return found
