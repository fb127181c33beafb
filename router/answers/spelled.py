"""Whole numbers that a clause spells in English words."""

import re

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_WORD = "|".join(sorted({*_VALUES, *_SCALES}, key=len, reverse=True))
_CLAUSE = re.compile(
    rf"\W*(?:exactly\s+)?(?P<sign>(?:minus|negative)\s+)?"
    rf"(?P<words>(?:{_WORD})(?:(?:\s*-\s*|\s+and\s+|\s+)(?:{_WORD}))*)"
    r"(?P<half>\s+and a half)?(?P<unit>(?:\s+(?!and\b|or\b|of\b|to\b|if\b)[a-z]+){0,2})\W*",
    re.IGNORECASE,
)


def in_digits(clause: str) -> str:
    """A clause that consists of a spelled number, with a unit or none, in digits; others as is."""
    match = _CLAUSE.fullmatch(clause)
    if match is None or clause.rstrip().endswith("?"):
        return clause
    words = re.findall(r"[a-z]+", match["words"].casefold())
    value = _value([word for word in words if word != "and"])
    if value is None or (value == 1 and match["unit"]):
        return clause  # "one" is a pronoun as well
    sign, half = "-" if match["sign"] else "", ".5" if match["half"] else ""
    return f"{sign}{value}{half}{match['unit']}"


def _value(words: list[str]) -> int | None:
    """None where the words are no single number, such as "two three"."""
    total, group, scale_before = 0, 0, 10**9
    for word in words:
        if (scale := _SCALES.get(word)) is None:
            value = _VALUES[word]
            size = 1 if value < 10 else 10 if value < 20 else 20
            if (
                scale_before in (1, 10)
                or (scale_before == 20 and size != 1)
                or (scale_before == 20 and value == 0)
            ):
                return None
            group, scale_before = group + value, size
        elif scale == 100:
            if not 0 < group < 20:
                return None
            group, scale_before = group * 100, 100
        else:
            if not 0 < group < 1_000:
                return None
            total, group, scale_before = total + group * scale, 0, scale
    return total + group
