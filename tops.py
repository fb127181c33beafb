"""The command line: `tops COMMAND ...`; a command's module is imported when the command is called.

Exit status: 0, 1 for failures, 2 for usage errors, 130 when stopped from the keyboard.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem, get_completion_class

from child_python import avoid_working_folder

_MOST_USED = {
    "serve": (
        "Start the gateway.",
        "server.commands:serve_command",
        "tops serve --upstream http://127.0.0.1:8001/v1",
    ),
    "calibrate": (
        "Fit a router to your model: generate, judge, fit.",
        "models.commands:calibrate_command",
        "tops calibrate --model NAME --problems gsm8k",
    ),
    "savings": (
        "Report the measured savings from the ledger.",
        "server.commands:savings_command",
        "tops savings --since 7d",
    ),
}
"""Name to help, location and example."""

_FURTHER = {
    "route": ("Explain the router's decision for a prompt.", "router.commands:route_command"),
    "key": ("Make an API key.", "server.commands:key_command"),
    "ledger": (
        "Look at the ledger, export it, or delete its oldest requests.",
        "server.ledger.commands:ledger_command",
    ),
    "load": ("Run a load test.", "loadtest.commands:load_command"),
    "fit": ("Fit a router to judged outcomes.", "router.commands:fit_command"),
    "audit": (
        "Find the right fixed effort, or whether an engine's efforts do anything.",
        "server.commands:audit_command",
    ),
    "replay": ("Evaluate a router on judged outcomes.", "router.commands:replay_command"),
    "problems": ("Print problems of the demo domain.", "models.commands:problems_command"),
    "generate": (
        "Run a model on problems at every effort, and judge.",
        "models.commands:generate_command",
    ),
    "judge": ("Judge answers line by line.", "models.commands:judge_command"),
    "train": ("Train a model that spends fewer tokens.", "models.commands:train_command"),
    "completion": ("Print a completion script for a shell.", "tops:completion_command"),
}

_STOPPED = 130
"""Exit status of a command that was stopped from the keyboard, as shells report SIGINT."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_NEAR = 0.75
"""Similarity from which an option's name is suggested: for --prot, --port (0.83) is one, --host
(0.67) is not."""

COMMANDS = {name: entry[:2] for name, entry in (_MOST_USED | _FURTHER).items()}
"""Name to one line of help and the command's location, MODULE:ATTRIBUTE."""


class LazyGroup(click.Group):
    """Lists and completes commands from `COMMANDS`, without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][1].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, COMMANDS))
        with formatter.section("Most used"):
            for name, (purpose, _, example) in _MOST_USED.items():
                formatter.write_dl([(name.ljust(width), purpose), ("", example)])
        with formatter.section("Further commands"):
            formatter.write_dl([(name, entry[0]) for name, entry in _FURTHER.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=purpose)
            for name, (purpose, _) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(None, "--version", package_name="tops-server", message="tops %(version)s")
def cli() -> None:
    """An OpenAI-compatible gateway that decides how much a reasoning model thinks per request.

    tops COMMAND --help explains a command.
    """


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print a completion script for a shell.

    \b
    bash:  eval "$(tops completion bash)"   in ~/.bashrc
    zsh:   eval "$(tops completion zsh)"    in ~/.zshrc
    fish:  tops completion fish > ~/.config/fish/completions/tops.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "tops", "_TOPS_COMPLETE").source())


def _replace_closed_streams() -> None:
    """Point closed standard streams to /dev/null.

    A socket or database that is opened later would get their number, and the log be written to it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def keep_loopback_from_proxies() -> None:
    """Send no request to this machine through the proxy of the environment, which cannot reach it.

    The names are those that urllib and httpx read; of both spellings, the lower case counts.
    """
    exempt = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    if exempt != ["*"]:
        names = [*filter(None, exempt), *(name for name in _LOOPBACK if name not in exempt)]
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(names)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    _replace_closed_streams()
    avoid_working_folder()
    keep_loopback_from_proxies()
    status = _run(argv)
    try:
        sys.stdout.flush()
    except OSError as error:
        _report(error)
        return status or 1
    return status


def _run(argv: Sequence[str] | None) -> int:
    try:
        status: object = cli.main(argv, prog_name="tops", standalone_mode=False)
    except SystemExit as stopped:
        status = stopped.code
    except click.NoSuchOption as error:
        _with_near_names(error).show()
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = _STOPPED
    except OSError as error:
        _report(error)
        status = 1
    return status if isinstance(status, int) else 0


def _with_near_names(error: click.NoSuchOption) -> click.UsageError:
    """The error with the names that are near; click's are farther ones, and hidden ones too."""
    import difflib  # noqa: PLC0415 - for this error alone

    assert error.ctx is not None
    names = [
        name
        for option in error.ctx.command.get_params(error.ctx)
        if isinstance(option, click.Option) and not option.hidden
        for name in (*option.opts, *option.secondary_opts)
    ]
    near = difflib.get_close_matches(error.option_name, names, cutoff=_NEAR)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return click.UsageError(f"No such option '{error.option_name}'.{hint}", error.ctx)


def _report(error: OSError) -> None:
    """Report that a file, or standard output, cannot be used; a reader that left is no failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is buffered would fail again at the end
    if not isinstance(error, BrokenPipeError):
        click.echo(f"Error: {error}", err=True)


if __name__ == "__main__":
    sys.exit(main())
