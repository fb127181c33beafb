"""The server's commands: `tops serve`, `key`, `savings`, `audit`. Parses, calls, prints."""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

import click
from click.core import ParameterSource

from router.commands import audit_command as outcomes_audit
from router.options import NEW_FILE, NOT_NEGATIVE
from server.config.load_settings import SettingsError, load_settings
from server.config.options import ServeCommand
from server.engines.dialect import DIALECTS


class UnusableSettings(click.ClickException):
    """Settings that cannot be used: a usage error, wherever they were set."""

    exit_code = 2


@click.command("serve", cls=ServeCommand)
@click.pass_context
def serve_command(ctx: click.Context, **flags: object) -> None:
    """Start the gateway, and an engine if no --upstream is set.

    Every option is also an environment variable, such as TOPS_MAX_LOSS for --max-loss, and a key of
    tops.toml, such as max_loss. Flags take precedence over the environment, the environment over
    tops.toml.

    \b
    tops serve
    tops serve --upstream http://127.0.0.1:8001/v1 --router portable
    tops serve --model SmolLM2-135M-Instruct.Q4_1.gguf
    tops serve --engine vllm --model Qwen/Qwen3-8B -- --max-model-len 32768
    """
    from router.artifact import ArtifactError
    from server.engines.supervisor import EngineNeverStarted
    from server.ledger.schema import LedgerError
    from server.llamacpp.gguf import GgufError
    from server.serve import serve

    try:
        served = serve(load_settings(flags))
    except (SettingsError, ArtifactError, LedgerError, GgufError) as error:
        raise UnusableSettings(str(error)) from error
    except EngineNeverStarted as error:
        raise click.ClickException(str(error)) from error
    ctx.exit(0 if served else 1)


@click.command("key")
@click.argument("name")
def key_command(name: str) -> None:
    """Make an API key for NAME, who is shown in logs, metrics and reports.

    The key is printed once, and the table for tops.toml after it, which has only its digest.
    """
    from server.api_keys import new_key, toml_table

    key = new_key()
    try:
        table = toml_table(name, key)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    click.echo(f"{key}\n\nThe key is shown only this once. Add to tops.toml:\n\n{table}")


@click.command("savings")
@click.option("--ledger", metavar="URL", help="Database URL; default: that of tops serve.")
@click.option("--since", metavar="TIME", help="7d, 12h, 30m, or a date such as 2026-11-01.")
@click.option("--model", metavar="NAME", help="Only requests of this model.")
@click.option("--key", metavar="NAME", help="Only requests of the API key with this name.")
@click.option("--kind", metavar="NAME", help="Only requests of this kind of traffic.")
@click.option(
    "--completion-price",
    type=NOT_NEGATIVE,
    metavar="PRICE",
    help="Price of a million completion tokens of models without [[prices]]; default: that of "
    "tops serve.",
)
@click.option(
    "--what-if",
    "policies",
    multiple=True,
    metavar="price=P|max_loss=L|effort=E",
    help="Evaluate another policy from the ledger; may be repeated.",
)
@click.option(
    "--router", metavar="FILE", help="Router (router.json) that turns max_loss into a price."
)
@click.option(
    "--conversations",
    is_flag=True,
    help="Report whole conversations too, for which all requests are read.",
)
@click.option("--json", "is_json", is_flag=True, help="Print a JSON object.")
@click.option("--html", "is_html", is_flag=True, help="Print a self-contained HTML page.")
def savings_command(
    ledger: str | None,
    since: str | None,
    model: str | None,
    key: str | None,
    kind: str | None,
    completion_price: float | None,
    policies: tuple[str, ...],
    router: str | None,
    conversations: bool,
    is_json: bool,
    is_html: bool,
) -> None:
    """Report the savings against the baseline effort, measured with the holdout.

    \b
    tops savings --since 7d
    tops savings --what-if effort=low --json
    """
    from router.artifact import ArtifactError
    from server.ledger.schema import LedgerDown, LedgerError
    from server.ledger.selection import Selection, parse_moment
    from server.savings.html_report import html_report
    from server.savings.prices import Prices
    from server.savings.query import parse_policy, query
    from server.savings.text_report import text_report

    if is_json and is_html:
        raise click.UsageError("--json and --html exclude each other.")
    try:
        choices = {text: parse_policy(text, router) for text in policies}
        selection = Selection(parse_moment(since, "--since"), model, key, kind)
    except (ValueError, ArtifactError) as error:
        raise click.UsageError(str(error)) from error
    try:
        settings = load_settings()
        if completion_price is None:
            completion_price = settings.completion_price
        prices = Prices.of(settings.prices, completion_price)
        document = query(ledger or settings.ledger, selection, prices, choices, conversations)
    except (LedgerError, LedgerDown, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    if is_json:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(html_report(document) if is_html else text_report(document))


_ENGINE_OPTIONS = (
    click.Option(
        ["--engine", "url"], metavar="URL",
        help="Measure what the efforts of a running engine do, instead of OUTCOMES; its key is "
        "read from TOPS_UPSTREAM_API_KEY.",
    ),
    click.Option(
        ["--dialect"], type=click.Choice([*DIALECTS]), default="vllm", show_default=True,
        help="Request format of the engine.",
    ),
    click.Option(
        ["--efforts"], metavar="EFFORT,EFFORT...",
        help="Efforts to measure; default: those of the chat template where it can be read, else "
        "none,low,medium,high.",
    ),
    click.Option(
        ["--prompts"], type=click.IntRange(min=1), default=30, show_default=True, metavar="N",
        help="Number of prompts at each effort.",
    ),
    click.Option(
        ["--problems"], type=click.File(encoding="utf-8"), metavar="FILE",
        help="JSON Lines with prompt, the first N of which are asked; default: arithmetic stories.",
    ),
    click.Option(
        ["--max-tokens"], type=click.IntRange(min=16), default=8192, show_default=True,
        metavar="TOKENS", help="Largest number of completion tokens of a reply.",
    ),
    click.Option(
        ["--temperature"], type=NOT_NEGATIVE, default=0.0, show_default=True, metavar="NUMBER",
        help="Sampling temperature; not sent to hosted services.",
    ),
    click.Option(
        ["--concurrency"], type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
        help="Concurrent requests; replies may then differ by themselves.",
    ),
    click.Option(
        ["--out"], type=NEW_FILE, metavar="FILE",
        help="Write each reply's counts, and go on from there in a second run.",
    ),
)  # fmt: skip


def _audit(ctx: click.Context, /, **options: Any) -> None:
    """Run the audit of outcomes, or of an engine: each has its own options."""
    own = {str(option.name): options.pop(str(option.name)) for option in _ENGINE_OPTIONS}
    option_names = [
        option.opts[0]
        for option in ctx.command.params
        if option.name != "model"
        and ctx.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    ]
    others = {"--json", "--engine"}
    if own["url"] is None:
        if not options["outcomes"]:
            raise click.UsageError("Give OUTCOMES, or the --engine URL of a running engine.")
        if misplaced := {option.opts[0] for option in _ENGINE_OPTIONS} & {*option_names} - others:
            raise click.UsageError(f"{', '.join(sorted(misplaced))}: only with --engine.")
        ctx.invoke(outcomes_audit, **options)
        return
    if misplaced := {*option_names} - {option.opts[0] for option in _ENGINE_OPTIONS} - others:
        raise click.UsageError(f"{', '.join(sorted(misplaced))}: not with --engine.")
    _audit_engine(model=options["model"], is_json=options["is_json"], **own)


def _audit_engine(
    url: str,
    dialect: str,
    model: str | None,
    efforts: str | None,
    prompts: int,
    problems: TextIO | None,
    max_tokens: int,
    temperature: float,
    concurrency: int,
    out: Path | None,
    is_json: bool,
) -> None:
    import asyncio

    from server.effort_audit import (
        AuditError,
        EffortAudit,
        audit_settings,
        effort_table,
        read_audit_prompts,
        run_audit,
    )
    from server.engines import effort_trial

    try:
        texts = read_audit_prompts(problems) if problems else effort_trial.prompts(prompts)
        settings, spelled = audit_settings(url, dialect, model, efforts)
        audit = EffortAudit(texts[:prompts], max_tokens, temperature, concurrency)
        total = len(audit.prompts) * len(settings.efforts)
        with click.progressbar(length=total, label="replies", file=sys.stderr) as bar:
            running = run_audit(audit, settings, spelled, out, lambda n, _: bar.update(n - bar.pos))
            document = asyncio.run(running)
    except SettingsError as error:
        raise UnusableSettings(str(error)) from error
    except AuditError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(document) if is_json else effort_table(document))


audit_command = click.Command(
    "audit",
    callback=click.pass_context(_audit),
    params=[
        click.Argument(["outcomes"], nargs=-1, metavar="[OUTCOMES...]"),
        *outcomes_audit.params[1:],
        *_ENGINE_OPTIONS,
    ],
    help="""Compare the fixed efforts in judged OUTCOMES, and recommend one; or measure what the
    efforts of a running engine do.

    OUTCOMES are outcome files, evaluation logs, folders of them, or a ledger (sqlite:///FILE).
    With --engine, --model is the name of the model on the engine, and of the other options of
    OUTCOMES only --json applies.

    \b
    tops audit outcomes.jsonl --max-loss 0.02
    tops audit --engine http://127.0.0.1:8001/v1 --prompts 50
    """,
)
