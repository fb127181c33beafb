"""The project's words: names say what they hold, docstrings say what names cannot."""

import ast
import subprocess
from collections.abc import Iterator

from paths import ROOT

PACKAGES = ("server", "router", "models", "loadtest")
EMPTY_WORDS = frozenset(
    [
        "one",
        "other",
        "others",
        "same",
        "such",
        "how",
        "told",
        "said",
        "asked",
        "found",
        "given",
        "work",
        "known",
        "made",
        "done",
        "kept",
        "held",
        "rest",
        "more",
        "least",
        "most",
        "what",
        "whole",
        "seen",
        "each",
        "first",
        "second",
        "last",
        "near",
        "beyond",
        "place",
        "taken",
        "sent",
    ]
)
"""Names that tell nothing of a value: neither what it is nor its unit."""

LARGEST_SHARE = 0.01
SHORTEST_DOCSTRING = 4


def sources() -> Iterator[tuple[str, ast.Module]]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if name.startswith(PACKAGES) and (ROOT / name).is_file():
            yield name, ast.parse((ROOT / name).read_text())


def bindings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The variables, fields and parameters that a module binds, each with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno


def is_empty(name: str) -> bool:
    return name.strip("_").lower() in EMPTY_WORDS


def test_hardly_a_variable_has_an_empty_word_for_a_name() -> None:
    total, empty = 0, list[str]()
    for file, tree in sources():
        for name, line in bindings(tree):
            total += 1
            if is_empty(name):
                empty.append(f"{file}:{line} {name}")
    assert len(empty) < LARGEST_SHARE * total, "\n".join(empty)


def test_no_function_or_class_has_an_empty_word_for_a_name() -> None:
    named = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    empty = [
        f"{file}:{node.lineno} {node.name}"
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, named) and is_empty(node.name)
    ]
    assert not empty, "\n".join(empty)


def test_a_docstring_says_something_or_is_not_there() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    short = [
        f"{file}:{getattr(node, 'lineno', 1)} {docstring}"
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, documented) and (docstring := ast.get_docstring(node))
        if len(docstring.split()) < SHORTEST_DOCSTRING
    ]
    assert not short, "\n".join(short)
