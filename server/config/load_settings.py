"""Where settings come from: flags over environment over `tops.toml` over defaults."""

import difflib
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict, SettingsError

from server.config.settings import PREFIX, ApiKeySettings, Settings

_CONFIG_VARIABLE = "TOPS_CONFIG"


class BadSettings(Exception):  # noqa: N818 - reads as what it says
    """Settings that cannot be used; the message has a line for each problem."""


def load_settings(argv: Sequence[str]) -> Settings:
    """Read flags, environment and file.

    Raises:
        BadSettings: an unknown or unusable value; the message names it and the nearest known name.
        SystemExit: `--help` was asked for and printed.
    """
    unknown = [
        name
        for name in os.environ
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in _names()
    ]
    if unknown:
        raise BadSettings("\n".join(_unknown("environment variable", name) for name in unknown))
    flags, rest = _halves(argv)
    file = _config_file(flags)

    class Sourced(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    Sourced.__name__ = "Settings"
    Sourced.__doc__ = Settings.__doc__
    try:
        given = {"engine_flags": tuple(rest)} if rest else {}
        found = Sourced(_cli_parse_args=flags, **given)  # pyright: ignore[reportCallIssue]
        return Settings.model_construct(**vars(found))  # which workers can be sent
    except ValidationError as error:
        raise BadSettings(_explain(error)) from error
    except SettingsError as error:
        raise BadSettings(_explain_flags(str(error))) from error
    except ValueError as error:  # tomllib names the line
        raise BadSettings(f"{file}: {error}") from error


def _names() -> list[str]:
    return list(Settings.model_fields)


def _halves(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The gateway's own flags, and those for the engine: what follows `--`."""
    words = list(argv)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _config_file(argv: Sequence[str]) -> Path | None:
    named = os.environ.get(_CONFIG_VARIABLE)
    for flag, value in pairwise([*argv, ""]):
        if flag == "--config":
            named = value
        elif flag.startswith("--config="):
            named = flag.partition("=")[2]
    if named is None:
        here = Path("tops.toml")
        return here if here.is_file() else None
    if not Path(named).is_file():
        raise BadSettings(f"there is no settings file {named}")
    return Path(named)


def _unknown(kind: str, name: str) -> str:
    plain = name.removeprefix(PREFIX).lstrip("-").replace("-", "_").lower().rpartition(".")[2]
    known = [*_names(), *ApiKeySettings.model_fields]
    close = difflib.get_close_matches(plain, known, n=1, cutoff=0)
    spelled = close[0]
    if kind == "flag":
        spelled = "--" + spelled.replace("_", "-")
    elif kind == "environment variable":
        spelled = PREFIX + spelled.upper()
    return f"unknown {kind} {name}: did you mean {spelled}?"


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(_unknown("setting", where))
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message}" if where else message)
    return "\n".join(lines)


def _explain_flags(message: str) -> str:
    found = re.search(r"unrecognized arguments: (.*)", message)
    if not found:
        return message.removeprefix("error parsing CLI: ")
    flags = [flag.partition("=")[0] for flag in found[1].split() if flag.startswith("-")]
    return "\n".join(_unknown("flag", flag) for flag in flags) or message
