"""Tuples, lists, sets and intervals of numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from router.answers.clause import affirmed, is_denial, without_reason
from router.answers.notation import plain, unmarked
from router.answers.number import Number, lone_number

_BRACKETS = re.compile(r"([(\[{])(.*)([)\]}])", re.DOTALL)
_ASSIGNMENT = re.compile(r"\s*(?:\(?[A-Za-z](?:\s*,\s*[A-Za-z])*\)?\s*(?:=|∈|\bin\b|are|is)\s*)")
_NAME = re.compile(r"\s*[a-z]\s*=")
_SEPARATORS = re.compile(r"\s*(?:[,;]\s*(?:and|or|und|oder)\s|[,;]|\b(?:and|or|und|oder)\b)\s*")
_NUMBERS_ONLY = re.compile(r"-?\d+(?:,-?\d+)+")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+")


_CHAIN = re.compile(
    r"(?P<low>[^<≤=\s]{1,40})\s?(?P<left>[<≤])\s*[A-Za-z]\s*(?P<right>[<≤])\s*(?P<high>[^<≤=\s]{1,40})"
)


_HALF_LINE = re.compile(r"[A-Za-z]\s*(?P<sign>[<>≤≥])\s*(?P<bound>[^<>≤≥=\s]+)")


_REVERSED = re.compile(r"(?P<bound>[^<>≤≥=\s]*[\d∞)])\s*(?P<sign>[<>≤≥])\s*(?P<name>[A-Za-z])")
_OPPOSITE = str.maketrans("<>≤≥", "><≥≤")


def _as_half_line(match: re.Match[str]) -> str:
    bound = match["bound"]
    return {
        "<": f"(-∞, {bound})",
        "≤": f"(-∞, {bound}]",
        ">": f"({bound}, ∞)",
        "≥": f"[{bound}, ∞)",
    }[match["sign"]]


def _as_interval(match: re.Match[str]) -> str:
    opening, closing = "(" if match["left"] == "<" else "[", ")" if match["right"] == "<" else "]"
    return f"{opening}{match['low']}, {match['high']}{closing}"


@dataclass(frozen=True)
class Collection:
    """Items between brackets; `opening` and `closing` are empty for a bare list, without order."""

    opening: str
    items: tuple[Number | str, ...]
    closing: str

    def equals(self, gold: "Collection") -> bool:
        """Whether items and brackets agree; a bare list may stand for a set."""
        brackets, right = self.opening + self.closing, gold.opening + gold.closing
        if brackets != right and not {brackets, right} <= {"", "{}"}:
            return False
        if len(self.items) != len(gold.items):
            return False
        if right in {"", "{}"}:
            unmatched = list(gold.items)
            return all(_remove_equal(unmatched, item) for item in self.items)
        return all(_is_equal(a, b) for a, b in zip(self.items, gold.items, strict=True))


def _is_equal(a: Number | str, b: Number | str) -> bool:
    return a.equals(b) if isinstance(a, Number) and isinstance(b, Number) else a == b


def _remove_equal(items: list[Number | str], item: Number | str) -> bool:
    for index, candidate in enumerate(items):
        if _is_equal(item, candidate):
            del items[index]
            return True
    return False


def collection(text: str) -> Collection | None:
    """The collection that a text is, at least two items long; None for any other text."""
    text = unmarked(plain(text)).strip().rstrip(".").strip()
    named = [
        match[0].strip(" =") for part in _SEPARATORS.split(text) if (match := _NAME.match(part))
    ]
    text = _ASSIGNMENT.sub("", text, count=1) if _ASSIGNMENT.match(text) else text
    if match := re.fullmatch(r"±\s*(\S+)", text):
        number = lone_number(match[1])
        return number and Collection("", (number, Number(-number.value)), "")
    text = re.sub(r"^\{\s*[A-Za-z]\s*[|:](.*)\}$", r"\1", text).strip()
    text = _CHAIN.sub(_as_interval, text)
    if reverse := _REVERSED.fullmatch(text):
        text = f"{reverse['name']} {reverse['sign'].translate(_OPPOSITE)} {reverse['bound']}"
    if half_line := _HALF_LINE.fullmatch(text):
        text = _as_half_line(half_line)
    text = re.sub(r"([A-Za-z])_\d+(?=\s*=)", r"\1", text)
    brackets = _BRACKETS.fullmatch(text)
    inner = brackets[2] if brackets else text
    if re.search(r"[()\[\]{}∪]", inner) or (not brackets and _THOUSANDS.fullmatch(text)):
        return None
    parts = [_ASSIGNMENT.sub("", part, count=1).strip() for part in _SEPARATORS.split(inner)]
    if len(parts) < 2 or not all(parts):
        return None
    items = tuple(lone_number(part) or part.replace(" ", "") for part in parts)
    if not brackets and not any(isinstance(item, Number) for item in items):
        return None
    if not brackets and len(named) == len(items) and named == sorted(set(named)):
        return Collection("(", items, ")")
    return Collection(brackets[1] if brackets else "", items, brackets[3] if brackets else "")


def gold_collection(gold: str) -> Collection | None:
    """The collection that a gold answer is; "3,5" is a list, and 1,000 is a number."""
    text = unmarked(plain(gold)).strip()
    if lone_number(text) and not _NUMBERS_ONLY.fullmatch(text):
        return None
    parsed = collection(text)
    if parsed is None or all(isinstance(item, Number) or "∞" in item for item in parsed.items):
        return parsed
    return None


def commits_to_collection(clause: str, gold: Collection) -> bool | None:
    """Whether a clause gives the gold collection; None where it has no digit."""
    text = affirmed(clause)
    if not re.search(r"\d|∞", text):
        return None
    parsed = collection(without_reason(text, r"\d"))
    return not is_denial(text) and parsed is not None and parsed.equals(gold)


def concludes_collection(sentences: Sequence[str], gold: Collection) -> bool:
    """Whether the final sentence with digits ends on the gold collection."""
    for sentence in reversed(sentences):
        text = affirmed(sentence).rstrip(". ")
        if not re.search(r"\d", text):
            continue
        if is_denial(text) or re.search(r"\b(?:not|either)\b|n't|[?]", text):
            return False
        ending = re.search(r"(?:\b(?:is|are|be)\b|[:∈])\s*([^:∈]*)$", text)
        bracketed = re.search(r"[(\[{][^()\[\]{}]*[)\]}]$", text)
        if bracketed and re.search(
            r"[)\]}]\s*(?:[,;]|\bor\b|\band\b)[\s,]*\Z", text[: bracketed.start()]
        ):
            return False  # one of several
        tail = bracketed[0] if bracketed else ending[1] if ending else text
        return commits_to_collection(tail, gold) is True
    return False
