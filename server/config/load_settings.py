"""Reads the settings: flags take precedence over environment, `tops.toml` and defaults."""

import difflib
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
)

from server.config.api_key_settings import ApiKeySettings
from server.config.renamed import RENAMED
from server.config.settings import (
    PREFIX,
    Settings,
    flag_of,
    variable_of,
)
from server.http.json_codec import shown

_FILE = "tops.toml"
_EXPECTED = {
    "tuple_type": "a list",
    "model_type": "a table",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "a path",
}
"""By pydantic's type of error, what a value has to be in the words of TOML, not of Python."""


class SettingsError(Exception):
    """Settings that cannot be used; the message has one line per problem."""


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Read all sources and validate.

    An old name of a setting is accepted with one warning on standard error.

    Args:
        flags: values from the command line, by the settings' names.

    Raises:
        SettingsError: an unknown name or an unusable value. A line names the source, and the
            nearest known name if there is a similar one.
    """
    environment = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX)
    }
    flags = _renamed(flags or {}, flag_of)
    environment = _renamed(environment, variable_of)
    unknown = [name for name in environment if name not in Settings.model_fields]
    if unknown:
        raise SettingsError(
            "\n".join(_unknown("environment variable", name, variable_of) for name in unknown)
        )
    file = _find_file(flags.get("config", environment.get("config")))
    table = _renamed(_read_file(file) if file else {}, str, f"{file}: ")

    def origin(name: str) -> str:
        if name in flags:
            return flag_of(name)
        if name in environment:
            return variable_of(name)
        return f"{file}: {name}" if name in table else name

    return _validated(_settings_from(environment, table), flags, origin, file)


def settings_of_options(options: Mapping[str, Any], spelled: Mapping[str, str]) -> Settings:
    """The settings that a command's options make; environment and `tops.toml` are not read.

    Args:
        options: values by the settings' names.
        spelled: how messages name the settings that are not the command's flag of that name.

    Raises:
        SettingsError: an unusable value.
    """
    return _validated(
        _settings_from({}, {}), options, lambda name: spelled.get(name) or flag_of(name), None
    )


def _validated(
    sourced: type[Settings],
    flags: Mapping[str, Any],
    origin: Callable[[str], str],
    file: Path | None,
) -> Settings:
    try:
        resolved = sourced(**flags)
    except ValidationError as error:
        raise SettingsError(_explain(error, origin, file)) from error
    except ValueError as error:
        raise SettingsError(str(error)) from error
    # a local class cannot be pickled for workers
    return Settings.model_construct(resolved.model_fields_set, **vars(resolved))


def _settings_from(environment: Mapping[str, Any], table: dict[str, Any]) -> type[Settings]:
    """The settings of these two sources, besides the flags that are their arguments."""

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names it
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            assert isinstance(env_settings, EnvSettingsSource)
            env_settings.env_vars = {
                f"{PREFIX}{name}".lower(): value for name, value in environment.items()
            }
            return init_settings, env_settings, InitSettingsSource(settings_cls, table)

    return Sourced


def _renamed(
    values: Mapping[str, Any], spell: Callable[[str], str], prefix: str = ""
) -> dict[str, Any]:
    """The values of one source under their new names; `spell` writes a name as the source does."""
    for old, new in RENAMED.items():
        if old in values and new in values:
            raise SettingsError(
                f"{prefix}{spell(old)} is the old name of {spell(new)}: set only {spell(new)}"
            )
        if old in values:
            message = f"{prefix}{spell(old)} is deprecated: use {spell(new)}"
            print(f"warning: {message}", file=sys.stderr)
    return {RENAMED.get(name, name): value for name, value in values.items()}


def _find_file(path: str | None) -> Path | None:
    if path is None:
        return Path(_FILE) if Path(_FILE).is_file() else None
    if not Path(path).is_file():
        raise SettingsError(f"there is no settings file {path}")
    return Path(path)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # editors may write a BOM
    except (ValueError, OSError) as error:  # tomllib gives the line
        raise SettingsError(f"{file}: {error}") from error
    if "config" in table:
        raise SettingsError(f"{file}: config names no other file here: pass it with --config")
    return table


def _unknown(kind: str, name: str, spell: Callable[[str], str] = str) -> str:
    names = [*Settings.model_fields, *ApiKeySettings.model_fields]
    similar = difflib.get_close_matches(name.rpartition(".")[2], names, n=1)
    hint = f": did you mean {spell(similar[0])}?" if similar else ""
    return f"unknown {kind} {spell(name)}{hint}"


def _explain(error: ValidationError, origin: Callable[[str], str], file: Path | None) -> str:
    """One line per problem; `origin` spells a setting as the source of its value does."""
    lines: list[str] = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            lines.append(_unknown(f"setting of {file}", ".".join(path)))
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in _EXPECTED:
            message = f"Input should be {_EXPECTED[problem['type']]}"
        if problem["type"] == "model_type":  # what stands for a table may be a key
            path.pop()
        elif path and isinstance(problem["loc"][-1], int):  # an entry of a list
            message = f"{shown(problem['input'])}: {message}"
            path.pop()
        where = ".".join([origin(path[0]), *path[1:]]) + ": " if path else ""
        lines.append(where + message)
    return "\n".join(lines)
