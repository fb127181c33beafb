"""False equations in prose: `3 + 4 = 8 apples` is one, `10/4=2.5` and `1,200+300=1,500` are not.

An equation that cannot be read for sure (letters, clock times, a part of a longer one) is not
judged. Reading takes time that is linear in the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

_TOKENS = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)|(?P<word>[^\W\d_]+)"
    r"|(?P<other>[<>!=]=|\.\.\.)|(?P<operator>[-\u2013\u2212+*\u00d7\u00b7\u22c5/\u00f7])|(?P<equals>=)|(?P<open>\()|(?P<close>\))"
    r"|(?P<money>[$\u20ac\u00a3\u00a5])|(?P<percent>%)|(?P<line>\n)|(?P<mark>\S)"
)
_SPELLED = {
    **dict.fromkeys("\u2013\u2212", "-"),  # en dash, minus sign
    **dict.fromkeys("\u00d7\u00b7\u22c5", "*"),  # multiplication sign, dots
    "\u00f7": "/",
}
_UNIT_LETTERS = frozenset("gmhslLkK")
_JOINING_WORDS = frozenset(
    ("of", "mod", "times", "plus", "minus", "by", "over", "per", "than", "to", "from", "squared")
)
"""Words before a number that make it a part of something longer."""

_JOINING_MARKS = frozenset(".,:^_!\\([{|\u221a\u00b2\u00b3")
"""Marks that do so where they touch a number: a clock time, a power, a factorial."""

_UNIT_WORDS = 3
_DEPTH = 20
_ROUNDING = Fraction(1, 200)
"""How far a value that is computed from rounded ones may be off, as a share of it."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class _Side:
    """A side of an equation that ends before token `last`.

    `decimals` are those of its numbers; `has_unit` is whether words name what they count.
    """

    value: Fraction
    last: int
    decimals: tuple[int, ...] = ()
    is_computed: bool = False
    has_unit: bool = False
    has_percent: bool = False


def false_equations(text: str) -> list[list[int]]:
    """The [start, end) spans of a text's equations whose sides differ."""
    tokens = [
        _Token(match.lastgroup or "mark", match[0], match.start(), match.end())
        for match in _TOKENS.finditer(text)
    ]
    spans: list[list[int]] = []
    position = 0
    while position < len(tokens):
        sides = _equation(tokens, position)
        if not sides:
            position += 1
            continue
        last = sides[-1].last
        if (
            len(sides) > 1
            and not _is_cut(tokens, position, last)
            and any(_differ(left, right) for left, right in pairwise(sides))
        ):
            spans.append([tokens[position].start, tokens[last - 1].end])
        position = last
    return spans


def _equation(tokens: Sequence[_Token], position: int) -> list[_Side]:
    """The sides that begin at a position, in a chain; none where no expression begins there."""
    sides: list[_Side] = []
    side = _sum(tokens, position, 0)
    while side is not None:
        sides.append(side)
        if _kind(tokens, side.last) != "equals":
            break
        side = _sum(tokens, side.last + 1, 0)
    return sides


def _kind(tokens: Sequence[_Token], position: int) -> str:
    return tokens[position].kind if 0 <= position < len(tokens) else "line"


def _symbol(tokens: Sequence[_Token], position: int) -> str | None:
    """The operator at a position; an x between numbers is one."""
    if _kind(tokens, position) == "operator":
        return _SPELLED.get(tokens[position].text, tokens[position].text)
    if (
        _kind(tokens, position) == "word"
        and tokens[position].text in ("x", "X")
        and _kind(tokens, position + 1) in ("number", "open", "money")
    ):
        return "*"
    return None


def _sum(tokens: Sequence[_Token], position: int, depth: int) -> _Side | None:
    return _chain(tokens, position, depth, "+-")


def _chain(tokens: Sequence[_Token], position: int, depth: int, symbols: str) -> _Side | None:
    """Operands joined by one kind of operators, from left to right."""

    def operand(start: int) -> _Side | None:
        return (
            _chain(tokens, start, depth, "*/") if "+" in symbols else _factor(tokens, start, depth)
        )

    side = operand(position)
    while side is not None and (symbol := _symbol(tokens, side.last)) and symbol in symbols:
        right = operand(side.last + 1)
        if right is None or (symbol == "/" and not right.value):
            return side if right is None else None
        value = {
            "+": side.value + right.value,
            "-": side.value - right.value,
            "*": side.value * right.value,
            "/": side.value / (right.value or 1),
        }[symbol]
        side = _Side(
            value,
            right.last,
            side.decimals + right.decimals,
            True,
            side.has_unit or right.has_unit,
            side.has_percent or right.has_percent,
        )
    return side


def _factor(tokens: Sequence[_Token], position: int, depth: int) -> _Side | None:
    sign = 1
    if _kind(tokens, position) == "operator" and _symbol(tokens, position) == "-":
        sign, position = -1, position + 1
    if _kind(tokens, position) == "open":
        inner = _sum(tokens, position + 1, depth + 1) if depth < _DEPTH else None
        if inner is None or _kind(tokens, inner.last) != "close":
            return None
        last = _after_unit(tokens, inner.last + 1)
        return replace(inner, value=sign * inner.value, last=last)
    if _kind(tokens, position) == "money":
        position += 1
    if _kind(tokens, position) != "number":
        return None
    text = tokens[position].text.replace(",", "")
    value, last = sign * Fraction(text), position + 1
    has_percent = _kind(tokens, last) == "percent"
    if has_percent:
        value, last = value / 100, last + 1
    decimals = len(text.partition(".")[2])
    end = _after_unit(tokens, last)
    has_unit = end > last or _kind(tokens, last) == "word"
    return _Side(value, end, (decimals,) if decimals else (), False, has_unit, has_percent)


def _after_unit(tokens: Sequence[_Token], position: int) -> int:
    """Behind the words that name what a number counts, if the expression goes on after them."""
    for last in range(position, position + _UNIT_WORDS + 1):
        if _kind(tokens, last) in ("operator", "equals", "close") or (
            last > position and _symbol(tokens, last)
        ):
            return last
        if _kind(tokens, last) != "word" or _is_letter(tokens[last]) or _symbol(tokens, last):
            return position
        if len(tokens[last].text) == 1 and tokens[last].start == tokens[last - 1].end:
            return position  # as in 2m + 3
    return position


def _is_letter(token: _Token) -> bool:
    """Whether a word stands for a number, as x does."""
    return len(token.text) == 1 and token.text not in _UNIT_LETTERS


def _is_cut(tokens: Sequence[_Token], first: int, last: int) -> bool:
    """Whether tokens [first, last) are a part of something longer, whose value is unknown."""
    return _is_cut_before(tokens, first) or _is_cut_after(tokens, last)


def _is_cut_before(tokens: Sequence[_Token], first: int) -> bool:
    before = _kind(tokens, first - 1)
    if before in ("line", "number"):
        return before == "number"  # as in 1 1/2 * 60
    token, starts = tokens[first - 1], tokens[first].kind
    touches = token.end == tokens[first].start
    if before == "operator":
        return _kind(tokens, first - 2) != "line"  # else a list's bullet
    if before in ("close", "percent"):
        return starts in ("operator", "open")
    if before == "word":
        return (
            touches
            or token.text.lower() in _JOINING_WORDS
            or (_is_letter(token) and starts == "operator")
        )
    return touches and token.text in _JOINING_MARKS


def _is_cut_after(tokens: Sequence[_Token], last: int) -> bool:
    after, follower = _kind(tokens, last), _kind(tokens, last + 1)
    if after in ("line", "equals"):
        return after == "equals"
    token = tokens[last]
    touches = token.start == tokens[last - 1].end
    if after == "operator":
        return follower in ("number", "word", "open", "money")
    if after == "word":
        return _is_letter(token) or (touches and len(token.text) == 1)
    if token.text in (".", ",", ":"):
        return touches and follower == "number" and tokens[last + 1].start == token.end
    return touches and token.text in _JOINING_MARKS


def _differ(left: _Side, right: _Side) -> bool:
    """Two sides agree within the last decimal of the less exact one.

    Sides that convert units are not compared: `2 hours = 2 * 60 = 120`.
    """
    if not (left.is_computed or right.is_computed) or (left.has_unit and not left.is_computed):
        return False
    tolerance = Fraction(0)
    for side in (left, right):
        if side.decimals:
            tolerance = max(tolerance, Fraction(1, 2 * 10 ** min(side.decimals)))
            if side.is_computed:
                tolerance = max(tolerance, _ROUNDING * abs(right.value))
    scales = (1, 100, Fraction(1, 100)) if left.has_percent != right.has_percent else (1,)
    return all(abs(left.value * scale - right.value) > tolerance for scale in scales)
