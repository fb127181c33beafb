"""Command-line options that several commands share: finite numbers, files to write, the policy."""

import difflib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from router.policy import Policy

_Command = TypeVar("_Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number within bounds; neither inf nor nan."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class NewFile(click.Path):
    """A file to write, refused before the work if it cannot be; it may exist."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        super().convert(value, param, ctx)
        if not path.name:
            self.fail(f"'{value}' is no file: name one.", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"there is no folder {path.parent}: make it, or name another.", param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK):
            self.fail(f"you may not write into the folder {path.parent}.", param, ctx)
        return path


NEW_FILE = NewFile()
SHARE = FiniteRange(0, 1)
NOT_NEGATIVE = FiniteRange(0)
POSITIVE = FiniteRange(0, min_open=True)


def log_options(*effort_names: str) -> Callable[[_Command], _Command]:
    """The options --score, --tokenizer and that of the efforts of logs, with these names."""

    def decorate(command: _Command) -> _Command:
        for option in (
            click.option(
                "--tokenizer",
                metavar="FILE",
                help="tokenizer.json, to count the tokens of logs without counts.",
            ),
            click.option(
                *effort_names,
                "log_efforts",
                multiple=True,
                metavar="[FILE=]EFFORT",
                help="Effort of logs that name none, or of one log.",
            ),
            click.option(
                "--score",
                "scores",
                multiple=True,
                metavar="NAME",
                help="Score that counts, in logs with several.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def policy_options(command: _Command) -> _Command:
    """The options --max-loss, --price, --tokens and --effort, of which at most one is given."""
    for option in (
        click.option("--effort", metavar="EFFORT", help="Policy fixed: always this effort."),
        click.option(
            "--tokens",
            type=POSITIVE,
            metavar="TOKENS",
            help="Policy budget: mean tokens per request.",
        ),
        click.option(
            "--price",
            type=POSITIVE,
            metavar="NUMBER",
            help="Policy price: gain in accuracy that justifies 1,000 more tokens.",
        ),
        click.option(
            "--max-loss",
            type=SHARE,
            metavar="SHARE",
            help="Policy quality: largest accuracy loss.  [default: 0.01]",
        ),
    ):
        command = option(command)
    return command


def policy_of(
    max_loss: float | None, price: float | None, tokens: float | None, effort: str | None
) -> "Policy":
    """The policy of the options; see `check_effort` for its effort.

    Raises:
        click.UsageError: more than one of them is given.
    """
    from router.policy import Policy

    if sum(option is not None for option in (max_loss, price, tokens, effort)) > 1:
        raise click.UsageError("--max-loss, --price, --tokens and --effort exclude each other.")
    if effort is not None:
        return Policy("fixed", effort=effort)
    if price is not None:
        return Policy("price", price=price)
    if tokens is not None:
        return Policy("budget", tokens=tokens)
    return Policy("quality", max_loss=0.01 if max_loss is None else max_loss)


def check_effort(policy: "Policy", efforts: Sequence[str]) -> None:
    """Raises click.BadParameter: a fixed policy has none of a router's `efforts`."""
    if policy.effort is None or policy.effort in efforts:
        return
    listed = ", ".join(efforts)
    if near := difflib.get_close_matches(policy.effort.lower(), efforts, n=1):
        listed += f"; did you mean {near[0]}?"
    raise click.BadParameter(
        f"{policy.effort} is none of the router's efforts: {listed}", param_hint="--effort"
    )
