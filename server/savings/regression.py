"""A line through outcomes over predictions whose standard deviation grows with the prediction."""

from dataclasses import dataclass

import numpy as np

from server.savings.sample import Array

_MIN_SCALE = 0.1
_SAME = 1e-9


@dataclass(frozen=True)
class Line:
    """`intercept` + `slope` x prediction."""

    intercept: float
    slope: float

    def at(self, predicted: Array) -> Array:
        """The outcomes on the line."""
        return self.intercept + self.slope * predicted


def scales(predicted: Array, middle: float) -> Array:
    """Standard deviations of the outcomes, up to a factor (N,)."""
    return np.maximum(predicted, max(middle, 1e-9) * _MIN_SCALE)


def fit(predicted: Array, outcomes: Array, middle: float) -> Line:
    """The line of least weighted squares; a level one where all predictions are the same.

    Args:
        predicted: (N,), N > 0.
        outcomes: (N,).
        middle: the mean prediction.
    """
    rows, scale = _design(predicted, middle)
    inverse = np.linalg.pinv(rows.T @ rows)
    coefficients = inverse @ (rows.T @ (outcomes / scale))
    return Line(float(coefficients[0]), float(coefficients[1]) if len(coefficients) > 1 else 0.0)


def leverages(predicted: Array, middle: float) -> Array:
    """How much of each outcome is in its own place on the line (N,)."""
    rows, _ = _design(predicted, middle)
    return np.einsum("ij,jk,ik->i", rows, np.linalg.pinv(rows.T @ rows), rows)


def _design(predicted: Array, middle: float) -> tuple[Array, Array]:
    scale = scales(predicted, middle)
    design = np.stack([np.ones_like(predicted), predicted], axis=1)
    if np.ptp(predicted) <= _SAME * max(abs(middle), 1.0):
        design = design[:, :1]
    return design / scale[:, None], scale
