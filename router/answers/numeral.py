"""Numbers as they are written: digits in any locale, fractions, powers, percent and units."""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from router.answers.question import UNKNOWN, Question, stem
from router.answers.units import (
    CLOCK,
    CURRENCIES,
    GENERAL,
    GRAMMAR,
    MULTIPLIERS,
    SYMBOLS,
    scale,
    unit_name,
)

LONGEST_DIGITS = 1_000
LARGEST_EXPONENT = 1_000
"""Powers of ten above it are not read: their digits would fill the memory."""

_DIGITS = r"\d{1,3}(?: \d{3})+(?![\d/])(?:[.,]\d+)?|\d+(?:[.,'_]\d+)*|\.\d+"
_CURRENCY = r"(?:[$€£¥₹￥]|(?:US|USD|EUR|GBP|CHF|JPY|CNY|INR|Rs\.?)(?=\W|\d))"
NUMBER = re.compile(
    rf"(?:(?P<sign>[-+])\s?|\b(?P<minus>minus|negative|moins"
    rf"|menos)\s+)?(?:(?P<currency>{_CURRENCY})\s?)?(?P<inner>-)?"
    rf"(?<![A-Za-zÀ-ÿα-ω\d_.^/:√|])(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<e>[+-]?\d+)(?!\w)|(?<=\b10)\^\(?(?P<ten>[+-]?\d+)\)?(?!\w)"
    r"|\s?[*x]\s?10\s?\^\s?\(?(?P<power>[+-]?\d+)\)?)?"
    r"(?:\s+(?P<above>\d+)\s?/\s?(?P<below>\d+)(?![\d/])|\s?/\s?(?P<over>\d+(?:\.\d+)?)(?![\d/]))?",
)
_SUFFIX = re.compile(
    r"\s?(?P<percent>%|percent\b|per cent\b|prozent\b|pour ?cent\b|por ciento\b)"
    r"|\s?(?P<clock>[ap]\.?m\b|o'clock\b)"
    r"|(?<=\d)(?P<letter>(?-i:[MB]))(?!\w)"
    rf"|\s?(?P<multiplier>{'|'.join(sorted(MULTIPLIERS, key=len, reverse=True))})(?![A-Za-z])"
    r"|\s?(?P<unit>(?:[A-Za-zµΩπθ°]|[^\W\d_]{2,})[^\W\d_]*(?:[/^·*]-?[A-Za-z0-9]+)*|[$€£¥₹元个￥])",
    re.IGNORECASE,
)
_BY_LETTER = {"M": 10**6, "B": 10**9}
_PER = re.compile(r"\s?(?:per|/)\s(?:an?\s)?([a-z]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A value as it was written; `value` of 5 % is 5.

    `unit` is None where none is known, and `nouns` are the words behind a number without one, as in
    "12 red apples". `computed` says that it is what an equation equals, whose nouns are often the
    operands'.
    """

    value: Fraction
    percent: bool = False
    unit: str | None = None
    nouns: tuple[str, ...] = field(default=(), compare=False)
    computed: bool = field(default=False, compare=False)

    def equals(self, gold: "Number", question: Question = UNKNOWN) -> bool:
        """Whether this is the gold number: 5 % is 0.05, and 5 if the gold answer is 5 %.

        What is counted or measured must be the gold answer's, as far as both of them say it. A
        percent sign or a time of day changes a gold number that has none, unless the question
        speaks of it.
        """
        if not self._counts_what(gold, question):
            return False
        if self.percent == gold.percent:
            return self.value * (scale(self.unit, gold.unit or question.unit) or 1) == gold.value
        share, bare = (self, gold) if self.percent else (gold, self)
        is_whole = abs(bare.value) >= 1 and (gold.percent or question.asks_percent)
        return (is_whole and bare.value == share.value) or (
            bare.value == share.value / 100 and (gold.percent or not is_whole)
        )

    def _counts_what(self, gold: "Number", question: Question) -> bool:
        if self.unit in CLOCK and gold.unit not in CLOCK and not question.speaks_of_time:
            return False
        if not (gold.percent or gold.unit or gold.nouns):
            return self._is_asked(question)
        if not (self.percent or self.unit or self.nouns):
            return True
        if gold.nouns:
            return gold.nouns[-1].casefold() in map(str.casefold, self.nouns)
        if gold.percent or not self.unit or not gold.unit:
            return self.unit == gold.unit
        return scale(self.unit, gold.unit) > 0 or {self.unit, gold.unit} == {"lb", "gbp"}  # pounds

    def _is_asked(self, question: Question) -> bool:
        """Whether it counts what a question asks the number of, or what it does not speak of."""
        if not question.text or not (self.unit or self.nouns):
            return True
        if self.unit:
            return self.unit in CLOCK or question.asks_unit(self.unit)
        if question.asks_when or question.asks_percent:
            return False
        is_general = stem(self.nouns[-1]) in GENERAL
        if self.computed or is_general or not (question.counted or question.measured):
            return True
        return not question.counted.isdisjoint(map(stem, self.nouns))


def read_number(match: re.Match[str], text: str, comma: bool) -> tuple[Number | None, int]:
    """A match's number and where it ends with its suffix; None where it is part of a term."""
    value = _value(match, comma)
    suffix = _SUFFIX.match(text, match.end())
    currency = unit_name(match["currency"].rstrip(".")) if match["currency"] else None
    if value is None or suffix is None:
        return (None if value is None else Number(value, unit=currency)), match.end()
    if suffix["percent"]:
        share = re.match(r"\s+off\b|\s+(?:of|von|de)\b\s*(?:the\s+)?[€£]?\d", text[suffix.end() :])
        return (None if share else Number(value, percent=True)), suffix.end()
    if suffix["clock"]:
        return Number(value, unit=suffix["clock"].casefold().replace(".", "")), suffix.end()
    if suffix["letter"] or suffix["multiplier"]:
        factor, end = _multiplied(text, match.end())
        unit, nouns = _counted(text, end)
        return Number(value * factor, unit=currency or unit, nouns=nouns), end
    name = unit_name(suffix["unit"])
    base = re.fullmatch(r"([A-Za-z]{2,}|m)\^[23]", suffix["unit"])
    if not name and (re.search(r"\w/\w", suffix["unit"]) or (base and unit_name(base[1]))):
        name = suffix["unit"]  # a unit that is made of others: m/s^2
    end = suffix.end() if name else match.end()
    attached = suffix.start("unit") == match.end()
    if _is_symbol(suffix["unit"], attached) or text[suffix.end() : suffix.end() + 1].isdigit():
        return None, end
    if name and name not in CURRENCIES and (per := _PER.match(text, end)):
        name, end = f"{name}/{unit_name(per[1]) or per[1]}", per.end()
    nouns = () if name or currency else _counted(text, match.end())[1]
    return Number(value, unit=currency or name, nouns=nouns), end


def _multiplied(text: str, end: int) -> tuple[int, int]:
    """The product of words like "hundred thousand" behind a number, and where they end."""
    factor = 1
    while (suffix := _SUFFIX.match(text, end)) and (suffix["letter"] or suffix["multiplier"]):
        word = suffix["letter"] or suffix["multiplier"].casefold()
        factor, end = factor * (_BY_LETTER.get(word) or MULTIPLIERS[word]), suffix.end()
    return factor, end


def _counted(text: str, start: int) -> tuple[str | None, tuple[str, ...]]:
    """The unit behind a number, or the nouns: the words up to the first one of grammar."""
    words: list[str] = []
    following = _WORDS.match(text, start)
    for word in following[0].split() if following else ():
        if word.casefold() in GRAMMAR:
            break
        if not words and (unit := unit_name(word)):
            return unit, ()
        words.append(word)
    return None, tuple(words)


_WORDS = re.compile(r"(?:\s?[^\W\d_][^\W\d_'-]*){0,4}")


def _is_symbol(unit: str, attached: bool) -> bool:
    """Whether what follows a number is no unit: 2x, 2π, 2ab."""
    if not attached:
        return unit in {"x", "y", "i", "π", "θ"}
    if unit in SYMBOLS:
        return True
    short = unit.isascii() and len(unit) < 3 and unit not in {"st", "nd", "rd", "th"}
    return short and unit_name(unit) is None


def _value(match: re.Match[str], comma: bool) -> Fraction | None:
    value = _decimal(match["digits"], comma)
    if value is None:
        return None
    if exponent := match["e"] or match["power"]:
        if len(exponent) > 5 or abs(int(exponent)) > LARGEST_EXPONENT:
            return None
        value *= Fraction(10) ** int(exponent)
    if match["ten"]:
        if len(match["ten"]) > 5 or abs(int(match["ten"])) > LARGEST_EXPONENT:
            return None
        value = Fraction(10) ** int(match["ten"])
    below = Fraction(match["below"] or match["over"] or 1)
    if not below:
        return None
    value = value + Fraction(match["above"]) / below if match["above"] else value / below
    negative = (match["sign"] == "-") != bool(match["inner"] or match["minus"])
    return -value if negative else value


def _decimal(digits: str, comma: bool) -> Fraction | None:
    """The value of digits with separators; None where no locale writes them so."""
    separators = set(re.findall(r"\D", digits))
    if len(digits) > LONGEST_DIGITS or len(separators) > 2:
        return None
    integer, decimals = digits, ""
    if len(separators) == 2 or (separators <= {".", ","} and not _is_grouped(digits, comma)):
        integer, _, decimals = digits.replace(",", ".").rpartition(".")
        integer = digits[: len(integer)]
    if not re.fullmatch(r"\d*", integer) and not _GROUPED.fullmatch(re.sub(r"\D", ",", integer)):
        return None
    return Fraction(f"{re.sub('[^0-9]', '', integer) or 0}.{decimals or 0}")


def _is_grouped(digits: str, comma: bool) -> bool:
    """Whether the only kind of separator in digits, a point or a comma, separates thousands."""
    count = digits.count(".") + digits.count(",")
    if count == 0 or not _GROUPED.fullmatch(digits.replace(".", ",")):
        return count != 1
    return count > 1 or ("." in digits) == comma


_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d\d)+,\d{3}")
"""Thousands in groups of three, or of two as in India."""
