"""The vocabulary of a fit: tf-idf vectors of a prompt's words.

It is learned from the prompts of a fit and knows nothing of what is predicted from them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np

from router.arrays import Array, Index
from router.word_table import WordTable

Words = Mapping[bytes, int]
"""Occurrences of each word in a text."""

_MAX_WORDS = 4_000
_MIN_PROMPTS = 2
_MAX_PROMPT_SHARE = 0.98
"""Words in a larger share of the prompts do not distinguish them."""
_LOGS = tuple(1.0 + log(n) for n in range(1, 257))
_LOG_ARRAY = np.array(_LOGS)
_CELLS = 2_048
"""Words whose weighted columns are summed up together, to stay in the processor's cache."""


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
        size = len(prompts)
        idf = {
            word: log((1 + size) / (1 + count)) + 1.0 if count <= _MAX_PROMPT_SHARE * size else 0.0
            for word, count in _frequent(prompts)
            if count >= _MIN_PROMPTS
        }
        for word, count in _frequent(read) if read is not prompts else ():
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
        return rows, np.fromiter(weights, np.float64, len(weights)) / (sqrt(square) or 1.0)

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
        if isinstance(words, WordTable) and isinstance(read, WordTable):
            shares = 1.0 - words.unknown_shares(self._rows(words) >= 0)
            if read is not words:
                shares = np.minimum(shares, 1.0 - read.unknown_shares(self._rows(read) >= 0))
            return shares.tolist()
        return [
            min(self.known_share(routed), self.known_share(every) if every is not routed else 1.0)
            for routed, every in zip(words, read, strict=True)
        ]

    def project(self, prompts: Sequence[Words], columns: Array) -> Array:
        """Word vectors (N, V) times `columns` (V, K), without building the (N, V) matrix."""
        products = np.zeros((len(prompts), columns.shape[1]))
        if isinstance(prompts, WordTable):
            rows_of = self._rows(prompts)
            for chunk, words in prompts.chunks():
                add_products(products[chunk], *self._weighted(words, rows_of), columns)
            return products
        for row, words in enumerate(prompts):
            rows, weights = self.vector(words)
            products[row] = weights @ columns[rows]
        return products

    def _rows(self, table: WordTable) -> Index:
        """The row in this vocabulary of each of the table's names, -1 for unknown words."""
        index = self._index
        return np.array([index.get(name, (-1,))[0] for name in table.names], dtype=np.intp)

    def _weighted(self, table: WordTable, rows_of: Index) -> tuple[Index, Index, Array]:
        """The prompt, row and weight of each known word of a table, as of `vector`."""
        row = rows_of[table.ids]
        known = row >= 0
        row, prompt = row[known], table.prompt_of()[known]
        weight = _LOG_ARRAY[np.minimum(table.counts[known], len(_LOGS)) - 1] * self.idf[row]
        square = np.bincount(prompt, weights=weight**2, minlength=len(table))
        length = np.sqrt(square)
        length[square == 0] = 1.0
        return prompt, row, weight / length[prompt]

    def cells(self, table: WordTable) -> tuple[Index, Index, Array]:
        """The prompt, row and weight of each known word of a table, as of `vector`."""
        return self._weighted(table, self._rows(table))


def _frequent(prompts: Sequence[Words]) -> Sequence[tuple[bytes, int]]:
    """The words that occur in the most prompts, and in how many."""
    if isinstance(prompts, WordTable):
        return prompts.frequent(_MAX_WORDS)
    frequency: Counter[bytes] = Counter()
    for words in prompts:
        frequency.update(words.keys())
    return frequency.most_common(_MAX_WORDS)


def add_products(products: Array, prompt: Index, row: Index, weight: Array, columns: Array) -> None:
    """Add to each prompt's product the weighted columns of its words, which are in its order."""
    for start in range(0, len(row), _CELLS):
        cells = slice(start, start + _CELLS)
        values = columns[row[cells]]
        values *= weight[cells, np.newaxis]
        first = np.flatnonzero(np.diff(prompt[cells], prepend=-1))
        products[prompt[cells][first]] += np.add.reduceat(values, first, axis=0)
