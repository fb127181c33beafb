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
    """The recipe of a TOML file; relative paths in it are relative to it.

    A file may name another that it `extends`: its own keys go before that one's.

    Args:
        file: the recipe.
        overrides: `key.key=value` each, the value as in TOML or a bare word.

    Raises:
        RecipeError: it cannot be read, a key is unknown, or a value is not what it must be.
    """
    given = _table(file)
    for override in overrides:
        _apply(given, override)
    try:
        recipe = Recipe.model_validate(given)
    except ValidationError as error:
        raise RecipeError(_told(file, error)) from error
    return Recipe.model_validate(_placed(recipe.model_dump(), file.resolve().parent))


def _table(file: Path, below: Sequence[Path] = ()) -> dict[str, Any]:
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{file} cannot be read: {error}") from error
    extended = given.pop("extends", None)
    if extended is None:
        return given
    other = file.parent / str(extended)
    if other in below:
        raise RecipeError(f"{file} extends {other}, which extends it")
    return _merged(_table(other, (*below, file)), given)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], dict) and isinstance(over[key], dict):
            merged[key] = _merged(under[key], over[key])
    return merged


def _apply(given: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    *path, last = name.strip().split(".")
    if not (equals and last):
        raise RecipeError(f"{override!r} is not key.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table: Any = given
    for key in path:
        table = cast("dict[str, Any]", table).setdefault(key, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{override!r}: {key} is no table")
    table[last] = value


def _told(file: Path, error: ValidationError) -> str:
    lines = [
        f"  {'.'.join(str(part) for part in one['loc']) or 'recipe'}: {one['msg']}"
        for one in error.errors()
    ]
    return "\n".join([f"{file} is not a usable recipe:", *lines])


def _placed(value: Any, folder: Path) -> Any:
    """The same with every path absolute; a model's `base` is one where such a folder is there."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        placed = {key: _placed(one, folder) for key, one in table.items() if key != "public"}
        base = placed.get("base")
        if isinstance(base, str) and (folder / base).is_dir():
            placed["base"] = str((folder / base).resolve())
        return placed
    if isinstance(value, list | tuple):
        return [_placed(one, folder) for one in cast("list[Any]", value)]
    return (folder / value).resolve() if isinstance(value, Path) else value
