"""JSON of requests and answers, read and written without a change to what the gateway passes on.

orjson reads an integer past 64 bits as a float, refuses to write values nested more than 254
deep, and knows no half of a surrogate pair. `json` keeps them, at ten times the cost: it takes over
where it is needed.
"""

import json
import sys
from typing import Any, cast

import orjson

MAX_DEPTH = 1024
"""Levels of nesting that orjson reads."""

_DIGITS_AS_ZERO = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
_LONG_NUMBER = b"0" * 19
"""As many digits as the smallest integer that does not fit into 64 bits, -2**63 - 1."""


sys.setrecursionlimit(max(sys.getrecursionlimit(), 4 * MAX_DEPTH))
"""For `json`: CPython counts its levels with those of the call stack."""


class JSONError(ValueError):
    """Bytes that are not JSON, or that are nested too deeply."""


def loads(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8; integers keep all of their digits.

    Raises:
        JSONError: it is not JSON, or nested more than MAX_DEPTH levels deep.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        is_deep = raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
        hint = f"; at most {MAX_DEPTH} levels may be nested" if is_deep else ""
        raise JSONError(f"{error}{hint}") from None
    if raw.translate(_DIGITS_AS_ZERO).find(_LONG_NUMBER) < 0:  # `in` first makes an exception
        return value
    return json.loads(raw)


def loads_lenient(raw: bytes) -> Any:
    """The value of an engine's JSON, also where it is JSON to Python or JavaScript only.

    That are halves of surrogate pairs, of characters that several chunks share, a byte order mark,
    control characters, and the NaN and Infinity of log-probabilities, which become None.

    Raises:
        JSONError: it is not JSON, or nested more than MAX_DEPTH levels deep.
    """
    try:
        return loads(raw)
    except JSONError as error:
        if not raw.strip().endswith((b"}", b"]")) or "depth" in str(error):
            raise
    try:
        return json.loads(raw, strict=False, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise JSONError(str(error)) from None


def as_object(value: object) -> dict[str, Any]:
    """A JSON value that is to be an object; empty where it is anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    """A JSON value that is to be a list of objects; empty ones stand for all other entries."""
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [as_object(entry) for entry in entries]


def shown(value: object) -> str:
    """A JSON value as error messages show it, cut to 40 characters; a text in single quotes."""
    text = repr(value) if isinstance(value, str) else dumps(value).decode()
    return text if len(text) <= 40 else f"{text[:37]}..."


def dumps(value: Any) -> bytes:
    """A value that `loads` or `loads_lenient` may return, as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
