"""Command-line options of `tops generate` and `tops calibrate`, and their value types."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TextIO, cast

import click

from models.domain.stories import MAX_STEPS
from router.effort import EFFORTS, is_effort
from router.options import NOT_NEGATIVE

AT_LEAST_ONE = click.IntRange(min=1)


class StepRange(click.ParamType[tuple[int, int]]):
    """The smallest and the largest number of steps of a story: LOW-HIGH."""

    name = "range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        low, _, high = str(value).partition("-")
        if not (low.isdigit() and high.isdigit() and 1 <= int(low) <= int(high) <= MAX_STEPS):
            self.fail(f"{value} is not LOW-HIGH within 1-{MAX_STEPS}.", param, ctx)
        return int(low), int(high)


class FieldValue(click.ParamType[tuple[str, Any]]):
    """A field and its value: FIELD=VALUE, where VALUE is JSON or else text."""

    name = "field"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value} is not FIELD=VALUE.", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


class EffortList(click.ParamType[tuple[str, ...]]):
    """Efforts, separated by commas; repetitions count once."""

    name = "efforts"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        efforts = tuple(dict.fromkeys(str(value).split(",")))
        if unknown := [effort for effort in efforts if not is_effort(effort)]:
            self.fail(f"{', '.join(unknown)}; known efforts: {', '.join(EFFORTS)}", param, ctx)
        return efforts


class Weights(click.ParamType[str]):
    """The hash of a checkpoint folder's weights, or such a hash itself."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from router.artifact import weights_hash

        folder = Path(value)
        if not folder.is_dir():
            if not re.fullmatch("[0-9a-f]{64}", str(value)):
                self.fail(
                    f"{value} is neither a folder nor a hash of 64 hexadecimal digits", param, ctx
                )
            return str(value)
        if not any(folder.glob("*.safetensors")):
            self.fail(f"{value} has no safetensors files", param, ctx)
        return weights_hash(folder)


@dataclass(frozen=True)
class GenerationOptions:
    """How a model is run on problems."""

    url: str
    efforts: tuple[str, ...]
    samples: int
    temperature: float
    max_tokens: int | None
    concurrency: int
    weights: str | None
    keep_responses: bool
    system: str | None
    kind: str | None
    run_code: bool
    effort_prompts: dict[str, str] | None


def _text(_: click.Context, __: click.Parameter, file: TextIO | None) -> str | None:
    if file is None:
        return None
    try:
        with file:
            return file.read().strip()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{file.name} is not UTF-8 text") from error


def _effort_prompts(
    ctx: click.Context, param: click.Parameter, file: TextIO | None
) -> dict[str, str] | None:
    text = _text(ctx, param, file)
    if text is None:
        return None
    try:
        table: Any = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}") from error
    if not isinstance(table, dict) or not all(
        is_effort(effort) and isinstance(text, str)
        for effort, text in cast("dict[str, Any]", table).items()
    ):
        raise click.BadParameter('it is not an object such as {"low": "Be brief.", "high": "..."}')
    return cast("dict[str, str]", table)


_OPTIONS = (
    click.option(
        "--url", default="http://127.0.0.1:8000/v1", show_default=True, metavar="URL",
        help="OpenAI-compatible API; its key is read from TOPS_UPSTREAM_API_KEY.",
    ),
    click.option(
        "--efforts", type=EffortList(), default="none,low,medium,high", show_default=True,
        metavar="EFFORT,EFFORT...", help="Efforts to run.",
    ),
    click.option(
        "--samples", type=AT_LEAST_ONE, default=1, show_default=True, metavar="N",
        help="Generations per problem and effort.",
    ),
    click.option(
        "--temperature", type=NOT_NEGATIVE, default=0.6, show_default=True, metavar="NUMBER",
        help="Sampling temperature.",
    ),
    click.option(
        "--max-tokens", type=AT_LEAST_ONE, metavar="TOKENS",
        help="Largest number of completion tokens per generation.",
    ),
    click.option(
        "--concurrency", type=AT_LEAST_ONE, default=16, show_default=True, metavar="N",
        help="Concurrent requests.",
    ),
    click.option(
        "--weights", type=Weights(), metavar="FOLDER",
        help="Checkpoint folder, or its hash; written to each outcome.",
    ),
    click.option("--keep-responses", is_flag=True, help="Write the text of the responses."),
    click.option(
        "--system", type=click.File(encoding="utf-8"), callback=_text, metavar="FILE",
        help="System message of your requests; a router knows only what it was fitted on.",
    ),
    click.option(
        "--kind", metavar="NAME",
        help="Kind of traffic; default: system:HASH of the system message, if there is one.",
    ),
    click.option(
        "--effort-prompts", type=click.File(encoding="utf-8"), callback=_effort_prompts,
        metavar="FILE",
        help="JSON object of efforts and system prompts, sent instead of reasoning_effort.",
    ),
    click.option(
        "--run-code", is_flag=True,
        help="Run the programs that the model writes, in a sandbox, to judge problems with tests.",
    ),
)  # fmt: skip


def generation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command gets them as one argument, `options`."""

    @wraps(command)
    def with_options(**values: Any) -> None:
        names = GenerationOptions.__dataclass_fields__
        options = GenerationOptions(**{name: values.pop(name) for name in names})
        if options.samples > 1 and options.temperature <= 0:
            raise click.UsageError(
                "several samples need a --temperature above 0, or they are all the same"
            )
        command(**values, options=options)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options
