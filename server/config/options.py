"""The command-line options of `tops serve`, generated from the fields of `Settings`.

An option carries text; `Settings` validates it, like the values of the other sources.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from server.config.renamed import RENAMED
from server.config.settings import DEMO, Settings, flag_of

ENGINE_FLAGS = "engine_flags"
_NOT_OPTIONS = ("keys", "kinds", "prices", ENGINE_FLAGS)


class ServeCommand(click.Command):
    """A command whose options are the settings, and whose words after `--` are engine flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, options_metavar="[OPTIONS] [-- ENGINE_FLAGS...]", **kwargs)
        self.params = [*self.params, *setting_options()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep only the options that were given, so that other sources supply the rest."""
        end = args.index("--") if "--" in args else len(args)
        engine_flags = tuple(args[end + 1 :])
        remaining = super().parse_args(ctx, args[:end])
        ctx.params = {
            name: value
            for name, value in ctx.params.items()
            if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        }
        if engine_flags:
            ctx.params[ENGINE_FLAGS] = engine_flags
        return remaining


def setting_options() -> list[click.Option]:
    """An option per setting, and a hidden one per old name."""
    fields = Settings.model_fields
    options = [_option(name, fields[name]) for name in fields if name not in _NOT_OPTIONS]
    return options + [_option(old, fields[new], hidden=True) for old, new in RENAMED.items()]


def metavar_of(field: FieldInfo) -> str:
    """What stands for a setting's value, such as SECONDS; choices as a|b."""
    choices = choices_of(field)
    if choices:
        return "|".join(choices)
    extra = cast("dict[str, str]", field.json_schema_extra)
    return extra["metavar"]


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The values of a setting that takes one of a few words, else none."""
    annotation = field.annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def default_text(field: FieldInfo) -> str | None:
    """A setting's default as documented; None if the description says it."""
    default: object = field.default
    if default == DEMO:
        return "the shipped demo"
    if default == Path(sys.executable):
        return "the Python that runs tops"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, dict):
        return None
    if isinstance(default, tuple):
        return ",".join(cast("Sequence[str]", default)) or None
    return None if default is None else str(default)


def _option(name: str, field: FieldInfo, hidden: bool = False) -> click.Option:
    flag = flag_of(name)
    if field.annotation is bool:
        off = "--no-" + flag.removeprefix("--")
        return click.Option(
            [f"{flag}/{off}", name],
            help=_help(field),
            default=None,
            hidden=hidden,
        )
    choices = choices_of(field)
    kind: click.ParamType[Any] = click.STRING
    if choices:
        kind = click.Choice(choices)
    elif field.annotation is Path or Path in _union(field.annotation):
        kind = click.Path()  # completes file names
    return click.Option(
        [flag, name],
        help=_help(field),
        type=kind,
        metavar=metavar_of(field),
        multiple=name == "upstream",
        hidden=hidden,
    )


def _help(field: FieldInfo) -> str:
    default = default_text(field)
    return f"{field.description}" + (f"  [default: {default}]" if default else "")


def _union(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
