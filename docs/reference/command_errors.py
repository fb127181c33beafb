"""The texts with which commands other than a running gateway end, for the page on errors."""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from docs.reference.code_texts import ROOT, called, calls, constants, text_of, tree_of

INTRODUCTION = """\
The other commands print one of these on standard error, after the name of the option, the file or
the key of a recipe where there is one. They exit with status 2 for an option, a recipe or a plan
that cannot be used, and with status 1 otherwise."""

_SOURCES: Mapping[str, tuple[str, ...]] = {
    "`tops serve` with a model's file": ("server/config", "server/embedded", "server/llamacpp"),
    "`tops fit`, `tops replay`, `tops route`; `tops audit` of outcomes": ("router",),
    "`tops audit --engine`, `tops ledger`, `tops savings`": (
        *("server/commands.py", "server/effort_audit.py", "server/engines/engine.py"),
        *("server/engines/health.py", "server/ledger", "server/savings"),
    ),
    "`tops calibrate`, `tops generate`, `tops judge`, `tops problems`": (
        *("models/commands.py", "models/options.py", "models/outcomes", "models/sandbox"),
    ),
    "`tops train`": ("models/training",),
    "`tops load`": ("loadtest",),
}
"""The folders and files whose errors end each command."""

_OF_DEVELOPERS = ("bench", "chaos")
_WITH_VALUE_ERRORS = ("recipe*.py", "plan.py", "options.py", "query.py", "selection.py")
"""Names of files whose ValueErrors are printed after the option or the key that they are about."""

_OF_CLICK = {"BadParameter", "ClickException", "UsageError"}
_HANDLED = {"BadRequest", "GenerationFailed", "LedgerDown", "PromptError", "_UnreadableError"}
"""Errors that no command ends with: a request does, or what raised them is tried again."""


def command_messages(known: Collection[str]) -> dict[str, list[str]]:
    """The texts by commands, without the `known` ones, which another section lists."""
    trees = {
        commands: {file: tree_of(file) for file in _files(sources)}
        for commands, sources in _SOURCES.items()
    }
    names = {name for files in trees.values() for tree in files.values() for name in _errors(tree)}
    messages: dict[str, list[str]] = {}
    listed = set(known)
    for commands, files in trees.items():
        texts = {text for file, tree in files.items() for text in _texts(file, tree, names)}
        messages[commands] = sorted(texts - listed)
        listed |= texts
    return messages


def _files(sources: tuple[str, ...]) -> Iterator[Path]:
    for source in sources:
        path = ROOT / source
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            if not set(_OF_DEVELOPERS) & set(file.parts):
                yield file


def _texts(file: Path, tree: ast.Module, names: set[str]) -> Iterator[str]:
    if any(file.match(pattern) for pattern in _WITH_VALUE_ERRORS):
        names = names | {"ValueError"}
    for call in calls(tree):
        if called(call) in names and call.args:
            text = " ".join((text_of(call.args[0], constants(tree)) or "").split())
            if text.strip("…,: "):
                yield text


def _errors(tree: ast.Module) -> set[str]:
    """The exceptions that a module defines and others may raise, and click's."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    defined = {
        node.name
        for node in classes
        for base in node.bases
        if getattr(base, "attr", getattr(base, "id", "")).endswith(("Error", "Exception"))
    }
    return (defined | _OF_CLICK) - _HANDLED
