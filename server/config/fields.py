"""Types of the settings' values, shared by all sources: lists, URLs, efforts, finite numbers."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from router.effort import EFFORTS, Effort


def _split(words: object) -> object:
    """Lists: comma-separated text, or a sequence of such texts."""
    if isinstance(words, str):
        return [word for word in words.replace(" ", "").split(",") if word]
    if isinstance(words, list | tuple):
        parts = cast("Sequence[object]", words)
        return [word for part in parts for word in cast("list[object]", _split(part))]
    return [words]


def _check_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise ValueError(f"'{url}' is not a URL: it must begin with http:// or https://")
    if len(set(urls)) < len(urls):
        raise ValueError("an engine is listed twice")
    return urls


def _sort_efforts(efforts: tuple[Effort, ...]) -> tuple[Effort, ...]:
    if not efforts:
        raise ValueError("list at least one effort")
    return tuple(sorted(set(efforts), key=EFFORTS.index))


def setting(default: Any, description: str, metavar: str = "TEXT", **constraints: Any) -> Any:
    """A pydantic field; `metavar` stands for its value in help texts and reference pages."""
    return Field(
        default, description=description, json_schema_extra={"metavar": metavar}, **constraints
    )


URLs = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_urls)]
Efforts = Annotated[
    tuple[Effort, ...], NoDecode, BeforeValidator(_split), AfterValidator(_sort_efforts)
]
Number = Annotated[float, Field(allow_inf_nan=False)]
