"""The server's commands: `tops serve`, `tops key`, `tops savings`. Parses, calls, prints."""

import json

import click

from router.options import NOT_NEGATIVE
from server.config.load_settings import SettingsError, load_settings
from server.config.options import ServeCommand


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
    except (SettingsError, ArtifactError, LedgerError) as error:
        raise UnusableSettings(str(error)) from error
    except (EngineNeverStarted, GgufError) as error:
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
    help="Price of a million completion tokens; default: that of tops serve.",
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
@click.option("--json", "form", flag_value="json", help="Print a JSON object.")
@click.option("--html", "form", flag_value="html", help="Print a self-contained HTML page.")
@click.option("--text", "form", flag_value="text", default="text", hidden=True)
def savings_command(
    ledger: str | None,
    since: str | None,
    model: str | None,
    key: str | None,
    kind: str | None,
    completion_price: float | None,
    policies: tuple[str, ...],
    router: str | None,
    form: str,
) -> None:
    """Report the savings against the baseline effort, measured with the holdout.

    \b
    tops savings --since 7d
    tops savings --what-if effort=low --json
    """
    from router.artifact import ArtifactError
    from server.ledger.reader import Selection
    from server.ledger.schema import LedgerDown, LedgerError
    from server.savings.page import page
    from server.savings.query import parse_policy, parse_since, query
    from server.savings.table import table

    try:
        choices = {text: parse_policy(text, router) for text in policies}
        selection = Selection(parse_since(since), model, key, kind)
    except (ValueError, ArtifactError) as error:
        raise click.UsageError(str(error)) from error
    try:
        settings = load_settings()
        if completion_price is None:
            completion_price = settings.completion_price
        document = query(ledger or settings.ledger, selection, completion_price, choices)
    except (LedgerError, LedgerDown, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    if form == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(page(document) if form == "html" else table(document))
