"""Reads many estimates at once: JSON objects with the same keys as one matrix."""

from collections.abc import Sequence
from itertools import chain
from string import ascii_letters

import numpy as np
import orjson

from server.savings.sample import Array

_OF_NUMBERS = b"0123456789.- \n"
_AROUND_NUMBERS = ascii_letters.encode() + b'{}": \n'


def read_alike(text: str, number: int) -> tuple[Sequence[str], Array] | None:
    """Keys (K) and values (N, K) of a JSON array of `number` objects or nulls, `number` > 0.

    None unless all have the same keys in one order. A null counts as an object without keys.
    """
    keys, values = _read_flat(text.encode(), number) or _read_objects(text)
    if values is None:
        return None
    return keys, np.array(values, dtype=float).reshape(number, len(keys))


def _read_flat(text: bytes, number: int) -> tuple[Sequence[str], Sequence[float]] | None:
    """Keys and all values in a row, without an object each: in half the time.

    None unless all objects are alike but for the digits of their numbers. With keys of letters
    only, what is left without them is a JSON array of the numbers.
    """
    example = text[1 : text.find(b"}") + 1]
    try:
        keys = [*orjson.loads(example)]
    except (orjson.JSONDecodeError, TypeError):  # a null, or a brace in a key
        return None
    if not keys or not all(key.isascii() and key.isalpha() for key in keys):
        return None
    objects = b",".join([example.translate(None, _OF_NUMBERS)] * number)
    if text.translate(None, _OF_NUMBERS) != b"[" + objects + b"]":
        return None
    return keys, orjson.loads(text.translate(None, _AROUND_NUMBERS))


def _read_objects(text: str) -> tuple[Sequence[str], Sequence[float] | None]:
    """Keys of the first object, and all values in a row; None if other objects have other keys."""
    objects: list[dict[str, float]] = [estimate or {} for estimate in orjson.loads(text)]
    keys = [*objects[0]]
    if [*chain.from_iterable(objects)] != keys * len(objects):
        return keys, None
    return keys, [*chain.from_iterable(estimate.values() for estimate in objects)]
