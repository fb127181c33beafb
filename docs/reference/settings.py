"""The page on settings, from their models."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.reference.code_texts import ROOT
from docs.reference.markdown import page, table
from server.config.api_key_settings import ApiKeySettings
from server.config.kind_settings import KindSettings
from server.config.price_settings import PriceSettings
from server.config.renamed import RENAMED
from server.config.settings import Settings

_SETTINGS = """\
`tops serve` reads each setting from four sources. An earlier source wins:

1. the flag, such as `--max-loss 0.02`;
2. the environment variable, such as `TOPS_MAX_LOSS=0.02`;
3. the key in `tops.toml`, such as `max_loss = 0.02`; `--config FILE` names another file;
4. the default.

An unknown flag, variable or key is an error that suggests a similar known name, if any. Lists
are comma-separated in flags and variables. [Operate](../guides/operate.md) says what they
are for."""

_KEYS = """\
Each API key is a `[[keys]]` table in `tops.toml`. `tops key NAME` creates a key, prints it once,
and prints its table. Only the SHA-256 digest of a key is stored. Clients send a key as
`Authorization: Bearer KEY` or as `x-api-key: KEY`."""


_PRICES = """\
Each `[[prices]]` table in `tops.toml` has the prices of one model's tokens, in any currency:
[Measure savings](../guides/measure-savings.md#money)."""

_KINDS = """\
Each `[[kinds]]` table in `tops.toml` names a kind of traffic by what shows it: see
[Kinds of traffic](../guides/kinds.md)."""

_FORMER = """\
These names are accepted in flags, variables and `tops.toml` until release 0.2, with a warning. A
setting under both names is an error."""


def text() -> str:
    properties = Settings.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", _default(name, field), _values(properties[name]), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return page(
        "Settings",
        _SETTINGS,
        table(("setting", "default", "values", "meaning"), rows),
        "## API keys",
        _KEYS,
        table(("field", "default", "values", "meaning"), _fields(ApiKeySettings)),
        "## Kinds of traffic",
        _KINDS,
        table(("field", "default", "values", "meaning"), _fields(KindSettings)),
        "## Prices",
        _PRICES,
        table(("field", "default", "values", "meaning"), _fields(PriceSettings, "see meaning")),
        "## Former names",
        _FORMER,
        table(("former name", "name"), [(f"`{a}`", f"`{b}`") for a, b in RENAMED.items()]),
    )


def _fields(model: type[BaseModel], default: str = "no limit") -> list[tuple[str, str, str, str]]:
    properties = model.model_json_schema()["properties"]
    return [
        (
            f"`{name}`",
            "required" if field.is_required() else default,
            _values(properties[name]),
            field.description or "",
        )
        for name, field in model.model_fields.items()
    ]


def _default(name: str, field: FieldInfo) -> str:
    value: object = field.default
    if name == "engine_python":
        return "the gateway's own"
    if value in (None, (), "") or value is PydanticUndefined:
        return "-"
    if isinstance(value, Path):
        return f"`{value.resolve().relative_to(ROOT)}`"
    if isinstance(value, tuple):
        return f"`{', '.join(map(str, cast('tuple[object, ...]', value)))}`"
    return f"`{json.dumps(value).strip(chr(34))}`"


_SIGNS = {
    "≥": ("minimum", "ge"),
    ">": ("exclusiveMinimum", "gt"),
    "≤": ("maximum", "le"),
    "<": ("exclusiveMaximum", "lt"),
}
"""A bound's names in JSON schema, and where pydantic does not translate it."""

_ANY_NUMBER = 1e9
"""Bounds of this size only keep absurd numbers out."""


def _values(schema: Mapping[str, Any]) -> str:
    """The accepted values of a property, from its JSON schema."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(map(_value, options)))


def _value(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kind = schema.get("type", "object")
    if kind == "array":
        item = schema.get("items", {})
        return "tables" if "$ref" in item else f"list of {_value(item)}"
    bounds = [
        f"{sign} {bound:,g}"
        for sign, names in _SIGNS.items()
        for bound in [next((schema[name] for name in names if name in schema), None)]
        if bound is not None and abs(bound) < _ANY_NUMBER
    ]
    if schema.get("minLength", 1) > 1:
        bounds.append(f"at least {schema['minLength']} characters")
    if "pattern" in schema:
        bounds.append(f"matches `{schema['pattern']}`")
    word = str({"path": "path", "password": "secret"}.get(schema.get("format", ""), kind))
    return " ".join((word, ", ".join(bounds))).strip()
