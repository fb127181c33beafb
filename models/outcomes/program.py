"""The Python program that a response gives, joined with the tests of its problem."""

import ast
import re

_BLOCK = re.compile(
    r"^[ \t]*(?P<fence>```+|~~~+)[ \t]*(?P<language>[\w+.-]*)[^\n]*\n(?P<code>.*?)"
    r"^[ \t]*(?P=fence)",
    re.MULTILINE | re.DOTALL,
)
_PYTHON = ("", "python", "py", "python3", "py3")
_START = re.compile(
    r"^(?:from\s+\S+\s+import\b|import\s|def\s|async\s+def\s|class\s|@)", re.MULTILINE
)
_DROPPED_LINES = 60


def program(response: str, prompt: str, tests: str, truncated: bool) -> str | None:
    """The program to run, which fails unless the response's code is right; None without code.

    Of several blocks of code, the final one counts that defines what the tests use. A prompt that
    is code itself comes first, since it may hold imports, and a response may only continue it.

    Args:
        response: the text that the model shows; thoughts do not count.
        prompt: of the problem.
        tests: statements that raise an error if the code is wrong.
        truncated: whether the response was cut off; a block that was not closed then counts for
            nothing.
    """
    text = response.rpartition("</think>")[2].partition("<think>")[0]
    opening = f"{prompt.rstrip()}\n" if _defines(prompt) else ""
    wanted = _free_names(tests)
    blocks = [
        match["code"] for match in _BLOCK.finditer(text) if match["language"].casefold() in _PYTHON
    ]
    if not blocks and not truncated:
        blocks = [text, *_bare_code(text)]
    for code in reversed(blocks):
        if wanted & _defines(code):
            return f"{opening}\n\n{code}\n\n{tests}\n"
    for code in reversed(blocks) if opening else ():
        if code.strip() and _tree(code) is None and wanted & _defines(opening + code):
            return f"{opening}{code}\n\n{tests}\n"
    return None


def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(code: str) -> set[str]:
    """The functions and classes, and the names that are assigned, at the top of a program."""
    names: set[str] = set()
    tree = _tree(code)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _free_names(tests: str) -> set[str]:
    tree = _tree(tests)
    nodes = list(ast.walk(tree)) if tree else []
    return {node.id for node in nodes if isinstance(node, ast.Name)} - _defines(tests)


def _bare_code(text: str) -> list[str]:
    """The code of a response without blocks: what parses from its first line of code on."""
    start = _START.search(text)
    if start is None:
        return []
    lines = text[start.start() :].split("\n")
    for end in range(len(lines), max(len(lines) - _DROPPED_LINES, 0), -1):
        code = "\n".join(lines[:end])
        if _tree(code) is not None:
            return [code]
    return []
