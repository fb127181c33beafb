"""What a fit regresses on: standardised features, and the main directions of the prompts' words.

Learned from the prompts of a fit alone; what is regressed on it becomes plain weights per feature
and per word (`Basis.unfold`), so nothing of this is needed to estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.estimate import Array, Frame
from router.fitting.learner import Linear
from router.vocabulary import Vocabulary, Words

_DIRECTIONS = 64
_PROMPTS_PER_DIRECTION = 4
_POWER_STEPS = 4
_MOST_PROMPTS = 8_000
"""Directions are learned from so many prompts at most: enough for 64, and bounded in memory."""
_WORD_SCALE = 3.0
"""Standard deviation given to the widest word direction, where each feature has one: a direction
sums up many words. Of 1, 3, 6 and 12, the best cross-fitted log loss on real outcomes."""
_FLAT = 1e-9
_SCALE_FLOOR = 0.25
"""Least standard deviation of a feature, in its own units: nearly constant features stay tame."""


@dataclass(frozen=True)
class Basis:
    """`directions` (V, K) of the words; `center` (K,) is where the fit's prompts lie on average."""

    frame: Frame
    vocabulary: Vocabulary
    directions: Array
    center: Array

    @classmethod
    def learn(cls, x: Array, words: Sequence[Words]) -> "Basis":
        """From the features (N, F) and the words of N prompts."""
        vocabulary = Vocabulary.learn(words)
        picked: list[int] = np.random.default_rng(0).permutation(len(words)).tolist()
        seen = vocabulary.matrix([words[i] for i in picked[:_MOST_PROMPTS]])
        middle = seen.mean(axis=0)
        directions = _main_directions(seen - middle).astype(np.float64)
        if directions.shape[1]:
            spread = float(((seen - middle) @ directions[:, 0]).std())
            directions *= _WORD_SCALE / max(spread, _FLAT)
        return cls(_frame(x), vocabulary, directions, middle.astype(np.float64) @ directions)

    def rows(self, x: Array, words: Sequence[Words]) -> Array:
        """Features clipped into the fit's range, then word directions: (N, F + K)."""
        return np.hstack([self.frame.clipped(x), self.words(words)])

    def words(self, words: Sequence[Words]) -> Array:
        """Where prompts lie along the word directions, (N, K)."""
        return self.vocabulary.project(words, self.directions) - self.center

    def unfold(self, linear: Linear) -> tuple[Array, Array, Array]:
        """A regression on `rows` as weights per feature (E, F) and per word (V, E), and bias (E,).

        One on the features alone gives words no weight.
        """
        width = len(self.frame.center)
        slopes = linear.weights[:, width:].T
        if not len(slopes):
            slopes = np.zeros((self.directions.shape[1], len(linear.bias)))
        return (
            linear.weights[:, :width],
            self.directions @ slopes,
            linear.bias - self.center @ slopes,
        )


def _frame(x: Array) -> Frame:
    """Centre, scale and range of the features that a fit sees."""
    center = x.mean(axis=0)
    scale = np.maximum(x.std(axis=0), _SCALE_FLOOR)
    z = (x - center) / scale
    low, high = z.min(axis=0), z.max(axis=0)
    flat = high - low < _FLAT
    center[flat] = x[0, flat]
    low[flat] = high[flat] = 0.0
    return Frame(center, scale, low, high)


def _main_directions(matrix: np.ndarray) -> np.ndarray:
    """Leading right singular vectors (V, K) by randomised subspace iteration.

    Halko, Martinsson & Tropp, SIAM Review 53(2), 2011, algorithm 4.4.
    """
    size, width = matrix.shape
    kept = min(_DIRECTIONS, width, size // _PROMPTS_PER_DIRECTION)
    if kept == 0:
        return np.zeros((width, 0))
    rng = np.random.default_rng(0)
    found = rng.normal(size=(width, min(kept + 10, width))).astype(matrix.dtype)
    for _ in range(_POWER_STEPS):
        found, _ = np.linalg.qr(matrix.T @ (matrix @ found))
    _, _, turned = np.linalg.svd(matrix @ found, full_matrices=False)
    return (found @ turned.T)[:, :kept]
