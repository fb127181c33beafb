"""Typed readers of a request's fields; an error names the field whose type is wrong."""

from typing import Any, TypeVar, cast, get_args

from router.effort import EFFORTS, Effort
from server.errors import BadRequest
from server.http.json_codec import shown

_T = TypeVar("_T")
_LEVELS = frozenset((*EFFORTS, "auto"))
_SYNONYMS = {"ultra": "max", "default": "auto", "disable": "none"}
_SCALE = dict(zip(EFFORTS[1:], (0.1, 0.2, 0.5, 0.8, 0.95, 0.99), strict=True))
"""Efforts as the share of a completion that OpenRouter gives to thinking."""


def agreed(values: dict[str, _T]) -> _T | None:
    """The value that all named fields have in common; None where there are no fields.

    Raises:
        BadRequest: two of them differ.
    """
    common_value = next(iter(values.values()), None)
    if len(values) > 1 and any(value != common_value for value in values.values()):
        raise BadRequest(
            " and ".join(
                f"{name} {value if isinstance(value, str) else shown(value)}"
                for name, value in values.items()
            )
            + " contradict each other: leave one out",
            next(iter(values)).rpartition(" ")[2],
        )
    return common_value


def integer(body: dict[str, Any], name: str, minimum: int, param: str | None = None) -> int | None:
    """An integer of at least `minimum`, or None where the field is absent.

    Args:
        body: the object that has the field.
        name: the field.
        minimum: the smallest value accepted.
        param: the field's full path for the error, where it is not `name`.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise BadRequest(
            f"{param or name} must be a whole number of at least {minimum}, not {shown(value)}",
            param or name,
        )
    return value


LENGTHS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n_predict",
    "max_new_tokens",
)
"""The fields that bound a completion, on any API of any engine; llama.cpp prefers `n_predict`."""


def ends_within(body: dict[str, Any], limit: int) -> bool:
    """Whether all the lengths that a body names are within a limit."""
    lengths = [body[name] for name in LENGTHS if body.get(name) is not None]
    return all(type(length) is int and 0 <= length <= limit for length in lengths)


def boolean(body: dict[str, Any], name: str, param: str | None = None) -> bool:
    """A boolean; an absent field is false."""
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
    """An object; an absent field is an empty one."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object, not {shown(value)}", name)
    return cast("dict[str, Any]", value or {})


def level(name: str, value: object) -> str:
    """An effort or `auto`; `name` is the field that has it.

    SGLang's `ultra` is `max`; Groq's and LiteLLM's `default` and `disable` are `auto` and `none`. A
    number, SGLang's too, is the nearest effort on a scale from 0 to 0.99, upwards between two.
    """
    if isinstance(value, str) and value in _LEVELS:
        return value
    if isinstance(value, str) and value in _SYNONYMS:
        return _SYNONYMS[value]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 0.99:
        return min(_SCALE, key=lambda effort: (abs(_SCALE[effort] - value), -_SCALE[effort]))
    raise BadRequest(
        f"{name} must be one of {', '.join(get_args(Effort))} or auto, not {shown(value)}",
        name.rpartition(" ")[2],
    )
