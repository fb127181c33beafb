"""The predictors of a fit: standardised features, and the main directions of the prompts' words.

Learned from the prompts alone, without their outcomes. `Basis.unfold` turns a regression on these
predictors into weights per feature and per word, so that the run time needs no basis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.arrays import Array
from router.fitting.learner import Linear
from router.parameters import Standardizer
from router.vocabulary import Vocabulary, Words, add_products
from router.word_table import WordTable

_DIRECTIONS = 64
_PROMPTS_PER_DIRECTION = 4
_POWER_STEPS = 4
_OVERSAMPLING = 10
_MAX_PROMPTS = 8_000
"""The most prompts that directions are learned from: enough for 64, and bounded in time."""
_WORD_SCALE = 3.0
"""Standard deviation of the widest word direction (a feature has 1), since a direction sums up many
words. Of 1, 3, 6 and 12, the one with the lowest cross-fitted log loss on real outcomes."""
_CONSTANT = 1e-9
_SCALE_FLOOR = 0.25
"""Lower bound of a feature's standard deviation, in its unit: without it, a nearly constant feature
would get huge standardised values."""


@dataclass(frozen=True)
class Basis:
    """K word `directions` (V, K), and the fit's mean `center` (K,) along them."""

    standardizer: Standardizer
    vocabulary: Vocabulary
    directions: Array
    center: Array

    @classmethod
    def learn(cls, x: Array, words: Sequence[Words], read: Sequence[Words] = ()) -> "Basis":
        """A basis from the features (N, F) and the words of N prompts.

        `read` (N): as of `router.features.Prompt`; its words are known too.
        """
        vocabulary = Vocabulary.learn(words, read)
        table = words if isinstance(words, WordTable) else WordTable.of(words)
        order = np.random.default_rng(0).permutation(len(table))[:_MAX_PROMPTS]
        vectors = _Vectors(vocabulary, table.rows(order))
        directions = _main_directions(vectors)
        if directions.shape[1]:
            spread = float((vectors @ directions[:, :1]).std())
            directions *= _WORD_SCALE / max(spread, _CONSTANT)
        return cls(_standardizer(x), vocabulary, directions, vectors.mean @ directions)

    def predictors(self, x: Array, words: Sequence[Words]) -> Array:
        """Predictors (N, F + K) of N prompts: clipped standardised features, word coordinates."""
        width = x.shape[1]
        predictors = np.empty((len(x), width + self.directions.shape[1]))
        predictors[:, width:] = self.coordinates(words)
        predictors[:, :width] = self.standardizer.clipped(x)
        return predictors

    def coordinates(self, words: Sequence[Words]) -> Array:
        """Coordinates (N, K) of N prompts along the word directions."""
        coordinates = self.vocabulary.project(words, self.directions)
        coordinates -= self.center
        return coordinates

    def unfold(self, linear: Linear) -> tuple[Array, Array, Array]:
        """A regression on `predictors`, as weights per feature (E, F) and word (V, E), bias (E,).

        The regression may be on the features alone; the weights per word are then 0.
        """
        width = len(self.standardizer.center)
        slopes = linear.weights[:, width:].T
        if not len(slopes):
            slopes = np.zeros((self.directions.shape[1], len(linear.bias)))
        return (
            linear.weights[:, :width],
            self.directions @ slopes,
            linear.bias - self.center @ slopes,
        )


def _standardizer(x: Array) -> Standardizer:
    """Mean, standard deviation and range of the features (N, F) of a fit."""
    center = x.mean(axis=0)
    scale = np.maximum(x.std(axis=0), _SCALE_FLOOR)
    z = x - center
    z /= scale
    low, high = z.min(axis=0), z.max(axis=0)
    constant = high - low < _CONSTANT
    center[constant] = x[0, constant]
    low[constant] = high[constant] = 0.0
    return Standardizer(center, scale, low, high)


class _Vectors:
    """The word vectors (N, V) of N prompts minus their mean (V,), without the zeros of either."""

    def __init__(self, vocabulary: Vocabulary, words: WordTable) -> None:
        prompt, row, weight = vocabulary.cells(words)
        self.shape = len(words), len(vocabulary.words)
        self._rows = prompt, row, weight
        order = np.argsort(row, kind="stable")
        self._columns = row[order], prompt[order], weight[order]
        self.mean = np.bincount(row, weights=weight, minlength=self.shape[1]) / max(len(words), 1)

    def __matmul__(self, columns: Array) -> Array:
        """The product (N, K) with `columns` (V, K)."""
        product = np.zeros((self.shape[0], columns.shape[1]))
        add_products(product, *self._rows, columns)
        return product - np.array(self.mean @ columns, dtype=np.float64)

    def transposed(self, columns: Array) -> Array:
        """The product (V, K) of the transpose with `columns` (N, K)."""
        product = np.zeros((self.shape[1], columns.shape[1]))
        add_products(product, *self._columns, columns)
        return product - self.mean[:, np.newaxis] * columns.sum(axis=0)


def _main_directions(matrix: _Vectors) -> Array:
    """Leading right singular vectors (V, K) of (N, V), by randomised subspace iteration.

    Halko, Martinsson & Tropp, SIAM Review 53(2), 2011, algorithm 4.4, on the transpose: there are
    fewer prompts than words, so iterating on the prompts' side halves the time.
    """
    size, width = matrix.shape
    rank = min(_DIRECTIONS, width, size // _PROMPTS_PER_DIRECTION)
    if rank == 0:
        return np.zeros((width, 0))
    rng = np.random.default_rng(0)
    start = rng.normal(size=(width, min(rank + _OVERSAMPLING, width)))
    image = matrix @ start
    for _ in range(_POWER_STEPS - 1):
        orthonormal, _ = np.linalg.qr(image)
        image = matrix @ matrix.transposed(orthonormal)
    span, _ = np.linalg.qr(matrix.transposed(image))
    _, _, rotation = np.linalg.svd(matrix @ span, full_matrices=False)
    return np.array(span @ rotation.T, dtype=np.float64)[:, :rank]
