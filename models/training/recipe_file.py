"""A recipe as a TOML file: read, merged with what it `extends`, overridden, its paths resolved."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from models.training.recipe import Recipe


class RecipeError(Exception):
    """A recipe cannot be used; the message names the key and what is wrong with it."""


def read_recipe(file: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file; relative paths in it start at its folder.

    A file may name another that it `extends`; its own keys override those of the other, whose paths
    start at the other's folder.

    Args:
        file: the recipe.
        overrides: `key.key=value` each, the value as in TOML or a bare word; paths in it start at
            the working folder.

    Raises:
        RecipeError: the file cannot be read, a key is unknown, or a value is invalid.
    """
    table = _read_table(file)
    for override in overrides:
        _apply(table, override)
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(_error_text(file, error)) from error


def _read_table(file: Path, extended_by: Sequence[Path] = ()) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{file} cannot be read: {error}") from error
    extends = table.pop("extends", None)
    table = _absolute(table, file.parent)
    if extends is None:
        return table
    base = (file.parent / str(extends)).resolve()
    if base in (file.resolve(), *extended_by):
        raise RecipeError(f"{file} extends {base}, which extends it")
    return _merged(_read_table(base, (*extended_by, file.resolve())), table)


def _merged(base: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **overrides}
    for key in base.keys() & overrides.keys():
        if isinstance(base[key], dict) and isinstance(overrides[key], dict):
            merged[key] = _merged(base[key], overrides[key])
    return merged


def _apply(recipe: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    *path, key = name.strip().split(".")
    if not (equals and key):
        raise RecipeError(f"{override!r} is not key.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table: Any = recipe
    for part in path:
        table = cast("dict[str, Any]", table).setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{override!r}: {part} is not a table")
    table |= _absolute({key: value}, Path.cwd())


def _error_text(file: Path, error: ValidationError) -> str:
    lines = [
        f"  {'.'.join(str(part) for part in detail['loc']) or 'recipe'}: {detail['msg']}"
        for detail in error.errors()
    ]
    return "\n".join([f"{file} is not a usable recipe:", *lines])


def _absolute(value: Any, folder: Path) -> Any:
    """`value` with absolute paths; a model's `base` is a path where `folder` has it."""
    if isinstance(value, list):
        return [_absolute(entry, folder) for entry in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value)
    table = {key: _absolute(entry, folder) for key, entry in entries.items()}
    for key in ("path", "accelerate", "base"):
        path = table.get(key)
        if isinstance(path, str) and path and (key != "base" or (folder / path).exists()):
            table[key] = str((folder / path).resolve())
    return table
