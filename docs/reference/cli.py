"""The page on the command line, from click's commands."""

import inspect
from collections.abc import Iterator

import click

import tops
from docs.reference.markdown import page, table

_CLI = """\
`tops COMMAND --help` prints the same. Exit status: 0 on success, 1 on failure, 2 on wrong usage or
unusable settings. `tops --version` prints the version."""


def text() -> str:
    context = click.Context(tops.cli, info_name="tops")
    parts = [_CLI]
    for name in tops.cli.list_commands(context):
        command = tops.cli.get_command(context, name)
        assert command is not None, name
        parts += _command(command, click.Context(command, parent=context, info_name=name))
    return page("Command line", *parts)


def _paragraphs(text: str) -> Iterator[str]:
    """A help text in Markdown: a paragraph that click does not wrap becomes a block of code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            yield f"```sh\n{paragraph[1:].strip()}\n```"
        else:
            yield paragraph


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## {context.command_path}"
    yield from _paragraphs(command.help or command.short_help or "")
    yield f"```text\n{context.command_path} {usage}\n```"
    if context.info_name == "serve":
        yield "Its options are the [Settings](settings.md)."
        return
    records = [param.get_help_record(context) for param in command.params]
    rows = [(f"`{record[0]}`", record[1]) for record in records if record and record[1]]
    if rows:
        yield table(("option", "meaning"), rows)
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from _command(part, click.Context(part, parent=context, info_name=name))
