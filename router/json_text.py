"""JSON as other tools write it: pandas and Python's own `json` write NaN for what is missing."""

import json
from typing import Any


class Fields(dict[str, Any]):
    """The fields of an object; one that is missing is a ValueError in words."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"field {name} is missing")


def parse_json(text: str | bytes) -> Any:
    """Any JSON value, with null for NaN; objects are `Fields`.

    A byte order mark before bytes is skipped.

    Raises:
        ValueError: the text is not JSON; the message says why, and follows the text's place.
    """
    try:
        return json.loads(text, parse_constant=constant, object_hook=Fields)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at character {error.pos + 1})") from error
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text") from error
    except RecursionError as error:
        raise ValueError("not JSON (nested too deeply)") from error


def parse_object(text: str | bytes) -> Fields:
    """A JSON object, as `parse_json`.

    Raises:
        ValueError: the text is none.
    """
    value = parse_json(text)
    if not isinstance(value, Fields):
        raise ValueError("not an object")  # noqa: TRY004 - of the data
    return value


def constant(name: str) -> float | None:
    """Infinity and -Infinity as numbers, NaN as null: for `parse_constant`."""
    return None if name == "NaN" else float(name)
