"""The commands `tops problems`, `generate`, `calibrate` and `train`. Parses, calls, prints."""

import errno
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from models.domain.stories import MAX_STEPS, Split
from models.options import (
    AT_LEAST_ONE,
    FieldValue,
    GenerationOptions,
    StepRange,
    generation_options,
)
from router.options import NEW_FILE, NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from models.outcomes.client import RequestSettings

_REQUIRED_MODULES = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "peft",
    "accelerate",
    "tensorboard",
)
_STOPPED = 130
"""Exit status of a command that was stopped from the keyboard, as shells report SIGINT."""


@click.command("problems")
@click.option(
    "--n", "count", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
    help="Number of problems.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Random seed.")
@click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), default="test",
    show_default=True, help="Part of the domain; no two parts share a problem.",
)  # fmt: skip
@click.option(
    "--steps", type=StepRange(), default=f"1-{MAX_STEPS}", show_default=True, metavar="LOW-HIGH",
    help="Number of steps of a problem, such as 3-5.",
)  # fmt: skip
@click.option(
    "--retold", is_flag=True,
    help="In other words: other names, things and sentences, some after a system message.",
)  # fmt: skip
@click.option(
    "--reasoning-gym", "tasks", metavar="TASK,TASK...",
    help="Print N problems of each of these tasks of reasoning-gym instead.",
)  # fmt: skip
@click.option(
    "--difficulty", type=FieldValue(), multiple=True, metavar="FIELD=VALUE",
    help="A field of the task's configuration, such as max_animals=5; may be repeated.",
)  # fmt: skip
def problems_command(
    count: int,
    seed: int,
    split: Split,
    steps: tuple[int, int],
    retold: bool,
    tasks: str | None,
    difficulty: tuple[tuple[str, Any], ...],
) -> None:
    """Print problems of the demo domain, or of reasoning-gym, as JSON Lines.

    The same seed and split give the same problems. Items of reasoning-gym hold what their scorer
    needs.
    """
    if tasks is not None:
        from models.outcomes.gym_problems import GymTask, write_gym_problems
        from models.outcomes.problem_sets import ProblemError

        try:
            write_gym_problems(
                sys.stdout,
                [GymTask(task, count, seed, dict(difficulty)) for task in tasks.split(",")],
            )
        except ProblemError as error:
            raise click.ClickException(str(error)) from error
        return
    if difficulty:
        raise click.UsageError(
            "--difficulty belongs to --reasoning-gym; the demo domain has --steps"
        )
    if retold and importlib.util.find_spec("faker") is None:
        raise click.ClickException(
            "--retold takes its names from the library Faker: pip install 'tops-server[train]'"
        )
    from models.domain.problems import write_problems

    write_problems(sys.stdout, count, seed, split, steps, retold)


@click.command("judge")
@click.option("--run-code", is_flag=True, help="Run programs that a model has written.")
def judge_command(run_code: bool) -> None:
    """Judge answers: a problem with its response per line in, a verdict per line out.

    Lines are those of a problem file, with id and response. The verdict has the same id, and
    correct, or error where the answer cannot be judged.
    """
    import asyncio

    from models.outcomes.judge_lines import judge_lines
    from models.outcomes.verify import Judge

    with Judge(run_code=run_code) as judge:
        asyncio.run(judge_lines(sys.stdin.buffer, sys.stdout, judge, run_code))


@click.command("generate")
@click.argument("problems")
@click.option(
    "--out", type=NEW_FILE, required=True, metavar="FILE", help="Outcome file; appended to."
)
@click.option(
    "--model", default="demo", show_default=True, metavar="NAME", help="As the endpoint names it."
)
@generation_options
def generate_command(problems: str, out: Path, model: str, options: GenerationOptions) -> None:
    """Run a model on PROBLEMS at every effort, judge the answers, and write outcomes.

    PROBLEMS is a file of JSON Lines with problem_id, prompt and answer, or gsm8k or math. Each
    generation is written as soon as it is complete; a second run generates only what is missing.
    """
    from models.outcomes.client import GenerateError
    from models.outcomes.generate import generate_outcomes
    from models.outcomes.problem_sets import ProblemError
    from models.outcomes.verify import JudgeError

    try:
        generate_outcomes(
            problems, _request_settings(model, options), options.efforts, options.samples,
            options.concurrency, out, options.run_code,
        )  # fmt: skip
    except (GenerateError, ProblemError, JudgeError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        _stop("stopped; run the same command again to continue")


@click.command("calibrate")
@click.option("--model", required=True, metavar="NAME", help="As the endpoint names it.")
@click.option(
    "--problems", required=True, metavar="FILE|gsm8k|math",
    help="JSON Lines with problem_id, prompt and answer, or a public set.",
)  # fmt: skip
@click.option("--limit", type=AT_LEAST_ONE, metavar="N", help="Use only the first N problems.")
@click.option(
    "--out", type=NEW_FILE, default=Path("router.json"), show_default=True, metavar="FILE",
    help="Router to write.",
)  # fmt: skip
@click.option(
    "--outcomes", type=NEW_FILE, metavar="FILE", help="Outcome file; default: OUT.outcomes.jsonl."
)
@click.option(
    "--baseline", metavar="EFFORT", help="Effort without a router; default: the most accurate one."
)
@click.option(
    "--max-loss", type=SHARE, default=0.01, show_default=True, metavar="SHARE",
    help="Largest accuracy loss to certify.",
)  # fmt: skip
@click.option(
    "--delta", type=SHARE, default=0.1, show_default=True, metavar="SHARE",
    help="1 - confidence of the certificate.",
)  # fmt: skip
@click.option(
    "--price", type=NOT_NEGATIVE, metavar="PRICE", help="Price of a million completion tokens."
)
@click.option("--yes", is_flag=True, help="Start without asking for confirmation.")
@generation_options
def calibrate_command(
    model: str,
    problems: str,
    limit: int | None,
    out: Path,
    outcomes: Path | None,
    baseline: str | None,
    max_loss: float,
    delta: float,
    price: float | None,
    yes: bool,
    options: GenerationOptions,
) -> None:
    """Fit a router to your model: run it on problems at every effort, judge, and fit.

    About ten generations are made first, to estimate what the run costs. Each generation is
    written as soon as it is complete; a second run generates only what is missing.

    \b
    tops calibrate --model NAME --url http://127.0.0.1:8001/v1 --problems gsm8k --limit 300
    """
    from models.outcomes.calibrate import (
        Calibration,
        Cost,
        check_problems,
        fit_outcomes,
        generate_missing,
    )
    from models.outcomes.client import GenerateError
    from models.outcomes.problem_sets import ProblemError, read_problems
    from models.outcomes.verify import JudgeError
    from router.artifact import save
    from router.fitting.fit import FitSettings
    from router.fitting.outcomes import OutcomeError
    from router.fitting.summary import summary

    if len(options.efforts) < 2:
        raise click.BadParameter(
            "a router chooses between efforts: give two", param_hint="--efforts"
        )
    if baseline not in (None, *options.efforts):
        raise click.BadParameter(f"{baseline} is none of --efforts", param_hint="--baseline")
    outcomes = outcomes or out.with_suffix(".outcomes.jsonl")

    def is_confirmed(cost: Cost) -> bool:
        click.echo(cost.describe(price), err=True)
        return yes or (sys.stdin.isatty() and click.confirm("continue?", err=True))

    try:
        calibration = Calibration(
            _request_settings(model, options),
            read_problems(problems, run_code=options.run_code)[:limit], options.efforts,
            options.samples, options.concurrency, options.run_code,
        )  # fmt: skip
        check_problems(calibration)
        if not generate_missing(calibration, outcomes, is_confirmed):
            raise click.ClickException(
                f"not started; {outcomes} has the generations so far. Pass --yes to continue"
            )
        fitted = fit_outcomes(calibration, outcomes, FitSettings(baseline, max_loss, delta))
        save(fitted.artifact, out)
    except (GenerateError, ProblemError, JudgeError, OutcomeError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        _stop(f"stopped; {outcomes} has what is finished: run the same command again to continue")
    for warning in fitted.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{out}\n{summary(fitted.artifact, max_loss)}")


@click.command("train")
@click.argument("stage")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--run", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Folder of the run; default: runs/NAME.",
)  # fmt: skip
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Override a key of the recipe, such as sft.epochs=4; may be repeated.",
)  # fmt: skip
def train_command(
    stage: str, recipe: Path, folder: Path | None, overrides: tuple[str, ...]
) -> None:
    """Train a model that spends fewer tokens: run one STAGE of a RECIPE, or all of them.

    The stages: base, seed, tag, generate, verify, select, sft, pairs, dpo, grpo, retell, evaluate,
    export. A finished stage is not repeated. The STAGE plan runs none: it prints samples, tokens,
    memory and hours of all, and fails if one does not fit. RECIPE is a TOML file, such as
    models/recipes/smoke.toml.
    """
    missing = [name for name in _REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if missing and stage != "plan":
        raise click.ClickException(
            f"{missing[0]} is not installed: pip install 'tops-server[train]'"
        )
    from models.outcomes.client import GenerateError
    from models.outcomes.problem_sets import ProblemError
    from models.outcomes.verify import JudgeError
    from models.training.recipe_file import RecipeError
    from models.training.run import RunError
    from models.training.train import show_plan, train

    try:
        if stage == "plan":
            show_plan(recipe, overrides)
        else:
            train(stage, recipe, overrides, folder)
    except OSError as error:
        is_full = error.errno == errno.ENOSPC
        hint = ": free some space, and run the same command again to continue" if is_full else ""
        raise click.ClickException(f"{error}{hint}") from error
    except (RecipeError, RunError, ProblemError, GenerateError, JudgeError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        _stop("stopped; run the same command again to continue")


def _request_settings(model: str, options: GenerationOptions) -> "RequestSettings":
    from models.outcomes.client import RequestSettings
    from models.outcomes.generate import API_KEY_VARIABLE

    return RequestSettings(
        url=options.url.rstrip("/"),
        model=model,
        temperature=options.temperature,
        weights=options.weights,
        keep_responses=options.keep_responses,
        max_tokens=options.max_tokens,
        system=options.effort_prompts,
        system_message=options.system,
        kind=options.kind,
        api_key=os.environ.get(API_KEY_VARIABLE),
    )


def _stop(message: str) -> NoReturn:
    click.echo(message, err=True)
    raise click.exceptions.Exit(_STOPPED)
