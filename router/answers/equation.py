"""Equations: what their last side equals."""

import re

_UNSOLVED = re.compile(r"(?:^|[\s,:;])(?:\d+[a-z]|[a-z]\^\d+)\s*$")
"""The left side of an equation that is not solved yet: 2x, x^2."""


def right_side(text: str) -> str | None:
    """What the last equation of a text equals; None where equations are listed."""
    text = re.sub(r"\bP\([^()=]*\)", "P", text)
    if re.search(r"[<>≥≤≠∪∩]|\d(?:\.\.+|…)\d|(?<!\w)\w\s*→\s*\d", text):
        return None
    *left, right = re.split(r"(?<![:!])=+|≈|\bequals\b|\bis equal to\b|,?\s\(?i\.e\.,?\s", text)
    if left and _UNSOLVED.search(left[-1]):
        return None
    if right.count(")") > right.count("("):  # an argument: P(X = 12)
        return None
    *parts, computed = re.split(
        r"\b(?:or|and|so|then|und|oder|ou|et|o|y)\b|[,;±]", " ".join(left[1:])
    )
    if parts and not re.search(r"\d\s*[-+*/]\s*\d", computed):
        return None
    return right if left and re.search(r"\d", right) else text if not left else None
