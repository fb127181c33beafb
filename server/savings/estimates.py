"""Reads many estimates at once: JSON objects with the same keys as one matrix."""

import numpy as np
import orjson

from server.savings.sample import Array

_PUNCTUATION = {ord(character): None for character in "[]{}: \n"}


def read_alike(text: str, number: int) -> tuple[tuple[str, ...], Array] | None:
    """Keys (K) and values (N, K) of a JSON array of `number` objects; K is 0 if all are null.

    None unless all have the same keys in one order. No key may have a character that JSON escapes.
    Without a dictionary per object, this takes two thirds of the time.
    """
    parts = text.split('"')
    keys, values = parts[1::2], "".join(parts[2::2])
    width = len(keys) // number
    if keys != keys[:width] * number:
        return None
    numbers = orjson.loads(f"[{values.translate(_PUNCTUATION)}]")
    return tuple(keys[:width]), np.array(numbers, dtype=float).reshape(number, width)
