"""Numbers and arrays of an artifact's JSON, checked as they are read.

Each raises ValueError, with what is wrong, for a value that the artifact cannot have.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from router.arrays import Array
from router.vocabulary import Vocabulary


def bounds(numbers: Mapping[str, Any], name: str, efforts: int) -> Array:
    """An upper bound of each effort (E,); null, or none in the file: inf."""
    values: list[float | None] = numbers.get(name, [None] * efforts)
    if len(values) != efforts:
        raise ValueError(f"parameter {name} has the wrong shape")
    return np.array([math.inf if value is None else within(value, 0) for value in values])


def array(values: object, name: str, shape: tuple[int, ...]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 and 0 in shape:  # JSON has no shape for an empty array
        array = array.reshape(shape)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"parameter {name} has the wrong shape or is not finite")
    return array


def within(value: object, lowest: float, highest: float = math.inf) -> float:
    number = _finite(value)
    if not lowest <= number <= highest:
        raise ValueError(f"{number:g} is not within {lowest:g} and {highest:g}")
    return number


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def plain(value: object) -> object:
    """A JSON value: arrays as nested lists of seven significant digits, floats unchanged.

    An infinite number of an array is null.
    """
    if isinstance(value, Vocabulary):
        return plain(value.idf)
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, np.dtype[np.float64]]", value)
        rounded = [None if math.isinf(v) else float(f"{v:.7g}") for v in array.ravel()]
        return np.array(rounded, dtype=object).reshape(array.shape).tolist()
    return value
