"""The router's commands: `tops fit`, `route`, `audit`, `replay`. Parses, calls, prints."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import click

from router.options import NEW_FILE, SHARE, check_effort, log_options, policy_of, policy_options

_FILE = click.Path(path_type=Path)
_SOURCES = click.argument("outcomes", nargs=-1, required=True, metavar="OUTCOMES...")
_DEMO_ROUTER = Path(__file__).resolve().parents[1] / "models" / "demo" / "router.json"
_LOCAL_ROUTER = Path("router.json")


@click.command("fit")
@_SOURCES
@click.option("--out", required=True, type=NEW_FILE, metavar="FILE", help="Router to write.")
@click.option("--model", metavar="NAME", help="Model to fit, if the files have several.")
@click.option(
    "--baseline",
    metavar="EFFORT",
    help="Effort without a router; default: the most accurate one.",
)
@click.option(
    "--max-loss", type=SHARE, default=0.01, show_default=True, metavar="SHARE",
    help="Largest accuracy loss to certify.",
)  # fmt: skip
@click.option(
    "--delta", type=SHARE, default=0.1, show_default=True, metavar="SHARE",
    help="1 - confidence of the certificate.",
)  # fmt: skip
@log_options("--effort", "--log-effort")
def fit_command(
    outcomes: tuple[str, ...],
    out: Path,
    model: str | None,
    baseline: str | None,
    max_loss: float,
    delta: float,
    scores: tuple[str, ...],
    log_efforts: tuple[str, ...],
    tokenizer: str | None,
) -> None:
    """Fit a router to judged OUTCOMES: outcome files, evaluation logs, folders of them."""
    from router.artifact import save
    from router.fitting.fit import FitSettings, fit
    from router.fitting.outcomes import OutcomeError, read_outcomes
    from router.fitting.summary import summary
    from router.logs.log_options import LogOptions

    try:
        options = LogOptions.of(scores, log_efforts, tokenizer)
        fitted = fit(
            read_outcomes(outcomes, model, options), FitSettings(baseline, max_loss, delta)
        )
    except OutcomeError as error:
        raise click.ClickException(str(error)) from error
    _warn(fitted.warnings)
    try:
        save(fitted.artifact, out)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}") from error
    click.echo(summary(fitted.artifact, max_loss))


@click.command("route")
@click.argument("prompt", required=False)
@click.option(
    "--router", "path", type=_FILE, metavar="FILE",
    help="Router, or the word portable; default: router.json here, else the demo's.",
)  # fmt: skip
@click.option(
    "--input", "lines", type=click.File(encoding="utf-8"), metavar="FILE",
    help="JSON Lines with prompt or messages, maybe kind; - for standard input.",
)  # fmt: skip
@click.option("--kind", metavar="NAME", help="Kind of traffic of PROMPT, or of lines without one.")
@click.option("--json", "is_json", is_flag=True, help="Print a JSON object per prompt.")
@policy_options
def route_command(
    prompt: str | None,
    path: Path | None,
    lines: TextIO | None,
    kind: str | None,
    is_json: bool,
    max_loss: float | None,
    price: float | None,
    tokens: float | None,
    effort: str | None,
) -> None:
    """Explain the decision for PROMPT, for standard input, or for each line of --input.

    \b
    tops route "What is 17 * 23?"
    tops route < question.txt
    """
    from router.artifact import ArtifactError
    from router.explanation import as_json, as_text
    from router.prompt_lines import kind_of, read_prompts
    from router.router import PORTABLE, Router

    policy = policy_of(max_loss, price, tokens, effort)
    if prompt is not None and lines is not None:
        raise click.UsageError("PROMPT and --input exclude each other.")
    if prompt is None and lines is None:
        prompt = "" if sys.stdin.isatty() else _standard_input()
        if not prompt:
            raise click.UsageError("Give a PROMPT, text on standard input, or --input FILE.")
    if path is None:
        path = _LOCAL_ROUTER if _LOCAL_ROUTER.is_file() else _DEMO_ROUTER
        click.echo(f"router: {path}", err=True)
    if path == Path("portable"):
        path = PORTABLE
    try:
        router = Router.load(path)
        check_effort(policy, router.efforts)
        alone = [("", dict[str, object](), prompt)]
        for _, fields, messages in read_prompts(lines, lines.name) if lines else alone:
            route = router.route(messages, None, policy, kind_of(fields) or kind)
            click.echo(as_json(fields, route) if is_json else as_text(messages, route))
    except (ArtifactError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@click.command("audit")
@_SOURCES
@click.option("--model", metavar="NAME", help="Model to audit, if the files have several.")
@click.option(
    "--max-loss", type=SHARE, default=0.01, show_default=True, metavar="SHARE",
    help="Largest accuracy loss of the recommended effort.",
)  # fmt: skip
@click.option(
    "--delta", type=SHARE, default=0.1, show_default=True, metavar="SHARE",
    help="1 - confidence of the claims.",
)  # fmt: skip
@click.option("--json", "is_json", is_flag=True, help="Print a JSON object.")
@click.option("--plot", type=NEW_FILE, metavar="FILE.png", help="Also draw accuracy over tokens.")
@log_options("--effort", "--log-effort")
def audit_command(
    outcomes: tuple[str, ...],
    model: str | None,
    max_loss: float,
    delta: float,
    is_json: bool,
    plot: Path | None,
    scores: tuple[str, ...],
    log_efforts: tuple[str, ...],
    tokenizer: str | None,
) -> None:
    """Compare the fixed efforts in judged OUTCOMES, and recommend one.

    OUTCOMES are outcome files, evaluation logs, folders of them, or a ledger (sqlite:///FILE).
    """
    from router.evaluation.audit import audit
    from router.evaluation.audit_table import audit_table
    from router.evaluation.plot import PlotError, check_plot, draw_audit
    from router.fitting.outcomes import OutcomeError, read_outcomes
    from router.logs.log_options import LogOptions

    try:
        if plot is not None:
            check_plot(plot)
        options = LogOptions.of(scores, log_efforts, tokenizer)
        reading = read_outcomes(outcomes, model, options, for_audit=True)
        result = audit(reading, max_loss, delta)
        if plot is not None:
            draw_audit(result, plot)
    except (OutcomeError, PlotError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _warn(result["warnings"])
    click.echo(json.dumps(result) if is_json else audit_table(result))


@click.command("replay")
@_SOURCES
@click.option("--router", "path", required=True, type=_FILE, metavar="FILE", help="Router.")
@click.option("--model", metavar="NAME", help="Model to replay; default: that of the router.")
@click.option("--json", "is_json", is_flag=True, help="Print a JSON object.")
@click.option("--plot", type=NEW_FILE, metavar="FILE.png", help="Also draw the frontiers.")
@policy_options
@log_options("--log-effort")
def replay_command(
    outcomes: tuple[str, ...],
    path: Path,
    model: str | None,
    is_json: bool,
    plot: Path | None,
    max_loss: float | None,
    price: float | None,
    tokens: float | None,
    effort: str | None,
    scores: tuple[str, ...],
    log_efforts: tuple[str, ...],
    tokenizer: str | None,
) -> None:
    """Evaluate a router on judged OUTCOMES: outcome files, evaluation logs, folders of them."""
    from router.artifact import ArtifactError, load
    from router.evaluation.plot import PlotError, check_plot, draw
    from router.evaluation.replay import replay
    from router.evaluation.report import table
    from router.fitting.outcomes import OutcomeError, read_outcomes
    from router.fitting.prompt_sketch import fitted_share
    from router.logs.log_options import LogOptions

    policy = policy_of(max_loss, price, tokens, effort)
    try:
        if plot is not None:
            check_plot(plot)
        artifact = load(path)
        check_effort(policy, artifact.efforts)
        options = LogOptions.of(scores, log_efforts, tokenizer)
        reading = read_outcomes(outcomes, model or artifact.model, options)
        result = replay(artifact, reading, policy)
        if plot is not None:
            draw(result, artifact.model, plot)
    except (ArtifactError, OutcomeError, PlotError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _warn(reading.warnings)
    share = fitted_share(artifact.provenance, reading.outcomes)
    if share:
        _warn([
            f"the router was fitted on these outcomes too, with about {share:.0%} of its prompts: "
            "the figures are better than on new ones"
        ])  # fmt: skip
    click.echo(json.dumps(result) if is_json else table(result))


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise click.ClickException("standard input is not UTF-8 text") from error


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
