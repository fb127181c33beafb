"""JSON values of evaluation logs, which may be anything, read as objects."""

from collections.abc import Mapping
from typing import cast

Object = Mapping[str, object]


def as_object(value: object) -> Object:
    """The value, or an empty object where it is none."""
    return cast("Object", value) if isinstance(value, Mapping) else {}


def as_objects(value: object) -> list[Object]:
    """The items of a list as objects; none where it is no list."""
    return (
        [as_object(item) for item in cast("list[object]", value)] if isinstance(value, list) else []
    )
