"""Typed readers of a request's fields; what has the wrong type is refused by its name."""

from typing import Any, TypeVar, cast, get_args

from router.effort import EFFORTS, Effort
from server.errors import BadRequest

_T = TypeVar("_T")


def agreed(said: dict[str, _T]) -> _T | None:
    """The one value that all of the named fields give; None where there are none.

    Raises:
        BadRequest: two of them differ.
    """
    values = list(said.values())
    if any(value != values[0] for value in values):
        raise BadRequest(
            " and ".join(f"{name} {value}" for name, value in said.items())
            + " contradict each other: leave one out",
            next(iter(said)).rpartition(" ")[2],
        )
    return values[0] if values else None


def integer(body: dict[str, Any], name: str, least: int, param: str | None = None) -> int | None:
    """A whole number of at least `least`, or None where the field is absent."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadRequest(
            f"{param or name} must be a whole number of at least {least}, not {shown(value)}",
            param or name,
        )
    return value


def boolean(body: dict[str, Any], name: str, param: str | None = None) -> bool:
    """True or false; absent is false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(
            f"{param or name} must be true or false, not {shown(value)}", param or name
        )
    return bool(value)


def string(body: dict[str, Any], name: str) -> str | None:
    """A string, or None where the field is absent."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a string, not {shown(value)}", name)
    return value


def object_(body: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; absent is empty."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object, not {shown(value)}", name)
    return cast("dict[str, Any]", value or {})


def level(name: str, value: object) -> str:
    """An effort, or `auto`."""
    if value not in (*EFFORTS, "auto"):
        raise BadRequest(
            f"{name} must be one of {', '.join(get_args(Effort))} or auto, not {shown(value)}",
            name.rpartition(" ")[2],
        )
    return cast("str", value)


def shown(value: object) -> str:
    """A value in an error message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
