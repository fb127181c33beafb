"""The vocabulary of a fit: tf-idf vectors of a prompt's words.

It is learned from the prompts of a fit and knows nothing of what is predicted from them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array

Words = Mapping[bytes, int]
"""Occurrences of each word in a text."""

_MAX_WORDS = 4_000
_MIN_PROMPTS = 2
_MAX_PROMPT_SHARE = 0.98
"""Words in a larger share of the prompts do not distinguish them."""
_LOGS = tuple(1.0 + log(n) for n in range(1, 257))


@dataclass(frozen=True)
class Vocabulary:
    """V words, each with its inverse document frequency (V,); V may be 0.

    A frequency of 0 marks a word that is known and has no influence.
    """

    words: tuple[bytes, ...]
    idf: Array

    @cached_property
    def _index(self) -> Mapping[bytes, tuple[int, float]]:
        values: list[float] = self.idf.tolist()
        return {word: (i, values[i]) for i, word in enumerate(self.words)}

    @classmethod
    def learn(cls, prompts: Sequence[Words], read: Sequence[Words] = ()) -> "Vocabulary":
        """The most frequent words of N prompts, each with log((1 + N) / (1 + prompts)) + 1.

        Words in nearly all prompts, and words of `read` (N) alone, are known without influence.
        """
        frequency, size = _prompts_by_word(prompts), len(prompts)
        idf = {
            word: log((1 + size) / (1 + count)) + 1.0 if count <= _MAX_PROMPT_SHARE * size else 0.0
            for word, count in frequency.most_common(_MAX_WORDS)
            if count >= _MIN_PROMPTS
        }
        for word, count in _prompts_by_word(read).most_common(_MAX_WORDS):
            if count >= _MIN_PROMPTS:
                idf.setdefault(word, 0.0)
        return cls(tuple(idf), np.array([*idf.values()], dtype=np.float64))

    def vector(self, words: Words) -> tuple[list[int], Array]:
        """Rows of the words that the vocabulary has (K,), and their weights (K,).

        Weights are (1 + log count) x idf, scaled to Euclidean length 1.
        """
        index = self._index
        rows: list[int] = []
        weights: list[float] = []
        square = 0.0
        for word, count in words.items():
            entry = index.get(word)
            if entry is None:
                continue
            row, weight = entry
            if count > 1:
                weight *= _LOGS[min(count, 256) - 1]
            rows.append(row)
            weights.append(weight)
            square += weight * weight
        return rows, np.array(weights) / (sqrt(square) or 1.0)

    def known_share(self, words: Words) -> float:
        """The share of a text's words that is in the vocabulary; 1 for no words.

        The smaller of two shares: of its distinct words, and of their occurrences.
        """
        index = self._index
        unknown = [count for word, count in words.items() if word not in index]
        if not unknown:
            return 1.0
        return 1.0 - max(len(unknown) / len(words), sum(unknown) / sum(words.values()))

    def known_shares(self, words: Sequence[Words], read: Sequence[Words]) -> list[float]:
        """The share of each of N prompts: the smaller one of its `words` and of its `read`."""
        return [
            min(self.known_share(routed), self.known_share(every) if every is not routed else 1.0)
            for routed, every in zip(words, read, strict=True)
        ]

    def project(self, prompts: Sequence[Words], columns: Array) -> Array:
        """Word vectors (N, V) times `columns` (V, K), without building the (N, V) matrix."""
        products = np.zeros((len(prompts), columns.shape[1]))
        for row, words in enumerate(prompts):
            rows, weights = self.vector(words)
            products[row] = weights @ columns[rows]
        return products

    def matrix(self, prompts: Sequence[Words]) -> NDArray[np.float32]:
        """Word vectors (N, V), dense."""
        vectors = np.zeros((len(prompts), len(self.words)), dtype=np.float32)
        for row, words in enumerate(prompts):
            rows, weights = self.vector(words)
            vectors[row, rows] = weights
        return vectors


def _prompts_by_word(prompts: Sequence[Words]) -> Counter[bytes]:
    """In how many prompts each word occurs."""
    frequency: Counter[bytes] = Counter()
    for words in prompts:
        frequency.update(words.keys())
    return frequency
