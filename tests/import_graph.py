"""The import graph of the project's modules, read from their source.

An arrow runs from a module to each module that it imports, at the top or within a function, and to
each that it names in a string: `python -m server.embedded` and import_module("models.studies") need
the named module as much as an import does. Docstrings are not read.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from paths import ROOT

PACKAGES = ("server", "router", "models", "loadtest")
_DOTTED = re.compile(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)+")


@dataclass(frozen=True)
class Arrows:
    """The modules that one module imports, and those that it names in strings."""

    imported: frozenset[str]
    named: frozenset[str]

    @property
    def targets(self) -> frozenset[str]:
        return self.imported | self.named


@cache
def import_graph() -> dict[str, Arrows]:
    """The arrows of every module, by dotted name; packages stand for their `__init__`."""
    files = {_module(file): file for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    files |= {file.stem: file for file in ROOT.glob("*.py")}
    return {module: _arrows(module, file, files) for module, file in sorted(files.items())}


def room(module: str) -> str:
    """The folder or the file directly within a package that a module belongs to.

    `server.engines.fleet` is in `engines`, `server.app` in `app`, and the package's own `__init__`
    in the room with an empty name.
    """
    return module.partition(".")[2].partition(".")[0]


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _arrows(module: str, file: Path, files: Mapping[str, Path]) -> Arrows:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = {target for name in _imported(tree) if (target := _target(name, files))}
    named = {name for name in _named(tree) if name in files}
    return Arrows(frozenset(imported - {module}), frozenset(named - {module}))


def _target(name: str, files: Mapping[str, Path]) -> str | None:
    """The module of a dotted name whose last part may be an attribute; None for other projects."""
    if name in files:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in files else None


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _named(tree: ast.Module) -> Iterator[str]:
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield from _DOTTED.findall(node.value)
        elif isinstance(node, ast.Call) and node.args and _called(node) == "python_command":
            yield from (text.value for text in node.args[:1] if isinstance(text, ast.Constant))


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
