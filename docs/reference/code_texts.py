"""Texts that stand in the code, read from its syntax trees."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def texts_of(*packages: str) -> Iterator[str]:
    """Every text in the code of some packages."""
    for package in packages:
        for module in modules(package):
            for node in ast.walk(module):
                if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                    yield text_of(node, {}) or ""


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def modules(package: str) -> tuple[ast.Module, ...]:
    files = sorted((ROOT / package).rglob("*.py"))
    return tuple(tree_of(file) for file in files if "embedded" not in file.parts)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def constants(scope: ast.Module | ast.FunctionDef) -> dict[str, str]:
    """The texts that a module or a function assigns to names."""
    nodes = scope.body if isinstance(scope, ast.Module) else ast.walk(scope)
    return {
        getattr(node.targets[0], "id", ""): text
        for node in nodes
        if isinstance(node, ast.Assign) and (text := text_of(node.value, {}))
    }


def possible_texts(node: ast.expr, named: Mapping[str, str]) -> list[str]:
    """All texts that an expression may be: of `a or "text"` the text."""
    parts = node.values if isinstance(node, ast.BoolOp) else [node]
    return [text for part in parts if (text := text_of(part, named))]


def text_of(node: ast.expr, named: Mapping[str, str]) -> str | None:
    """The text of an expression, each value in it as an ellipsis; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return named.get(node.id)
    if isinstance(node, ast.FormattedValue):
        return text_of(node.value, named)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value, named) or "…" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left, named), text_of(node.right, named)
        return None if left is None and right is None else (left or "…") + (right or "…")
    return None
