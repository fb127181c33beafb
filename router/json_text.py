"""JSON as other tools write it: pandas and Python's own `json` write NaN for what is missing."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Any JSON value, with null for NaN; a byte order mark before bytes is skipped.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=constant)


def constant(name: str) -> float | None:
    """Infinity and -Infinity as numbers, NaN as null: for `parse_constant`."""
    return None if name == "NaN" else float(name)
