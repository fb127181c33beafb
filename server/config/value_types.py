"""Types of the settings' values, shared by all sources: lists, URLs, efforts, finite numbers."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from router.effort import EFFORTS, Effort


def _split(words: object) -> object:
    """Lists: comma-separated text, or a sequence of such texts."""
    if isinstance(words, str):
        return [word for part in words.split(",") if (word := part.strip())]
    if isinstance(words, list | tuple):
        parts = cast("Sequence[object]", words)
        return [word for part in parts for word in cast("list[object]", _split(part))]
    return [words]


def _check_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise ValueError(f"'{url}' is not a URL: it must begin with http:// or https://")
        _check_url(url)
    bases = {url.lower().rstrip("/").removesuffix("/v1") for url in urls}
    if len(bases) < len(urls):
        raise ValueError("an engine is listed twice")
    return urls


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"'{url}' is not a URL: {error}") from error
    if not is_usable or re.search(r"\s", url):
        raise ValueError(f"'{url}' is not a URL: it needs a host, and a port of 1 to 65535 if any")
    if parts.query or parts.fragment:
        raise ValueError(f"'{url}' has a query or fragment: give the base URL, up to /v1")
    if "@" in parts.netloc:
        raise ValueError("a URL has a user or password: give the key as upstream_api_key instead")
    if re.search(r"/(?:completions|responses|messages|models|health)/?$", parts.path):
        raise ValueError(f"'{url}' is one endpoint of an engine: give the base URL, up to /v1")


def _check_limits_store(url: str) -> str:
    if not re.match(r"((redis|valkey)s?://[^/]|unix:///)", url):
        raise ValueError(
            "not the URL of a Valkey or Redis: it must begin with redis://, rediss:// (TLS), "
            "valkey://, valkeys:// or unix:///"
        )
    return url


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()  # files of secrets often end in a line break
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("a key has only printable ASCII characters, without spaces")
    return SecretStr(text)


def _check_number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")  # noqa: TRY004 - pydantic's
    number = 0.0
    with suppress(ValueError, TypeError, OverflowError):  # pydantic says what is wrong with those
        number = float(cast("str", value))
    if not math.isfinite(number):
        raise PydanticCustomError("finite_number", "Input should be a finite number")
    return value


def _check_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
            raise ValueError(f"'{name}' is not a host: give a name without scheme and port")
    return names


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not re.fullmatch(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#\s*@]+", origin):
            raise ValueError(
                f"'{origin}' is not an origin: give a scheme and a host, without a path, a user or "
                "a * within"
            )
    return origins


def _drop_default_ports(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as browsers spell them: without the port that the scheme implies."""
    return tuple(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", name) for name in origins)


def _check_aliases(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if len(name) > 200 or not name.isprintable():
            raise ValueError(
                f"'{name[:40]}' is not a model's name: at most 200 printable characters"
            )
    return tuple(dict.fromkeys(names))


def _lower_case(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower().rstrip("/") for name in names)


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
Hosts = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    AfterValidator(_lower_case),
    AfterValidator(_check_hosts),
]
Origins = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    AfterValidator(_lower_case),
    AfterValidator(_check_origins),
    AfterValidator(_drop_default_ports),
]
Efforts = Annotated[
    tuple[Effort, ...], NoDecode, BeforeValidator(_split), AfterValidator(_sort_efforts)
]
Aliases = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_aliases)
]
LimitsStore = Annotated[str, AfterValidator(_check_limits_store)]
ApiKey = Annotated[SecretStr, AfterValidator(_check_secret)]
_IS_NUMBER = BeforeValidator(_check_number)
Number = Annotated[float, _IS_NUMBER, Field(ge=-1e9, le=1e9)]
Integer = Annotated[int, _IS_NUMBER, Field(ge=-(2**31), lt=2**31)]
Seconds = Annotated[float, _IS_NUMBER, Field(le=604_800)]
"""A duration of a week at most: more would be a mistake, or mean never."""
