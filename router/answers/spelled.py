"""Whole numbers and fractions that a clause spells, in English or Chinese."""

import re
import unicodedata

_UNITS = re.findall(
    r"\w+",
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen
""",
)
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = re.findall(
    r"\w+",
    """
    third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
    fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth
""",
)
_VALUES = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_PARTS = {
    **dict.fromkeys(("half", "halves"), 2),
    **dict.fromkeys(("quarter", "quarters"), 4),
    **{f"{part}{s}": n for n, part in enumerate(_ORDINALS, 3) for s in ("", "s")},
}
_WORD = "|".join(sorted({*_VALUES, *_SCALES}, key=len, reverse=True))
_NUMERAL = re.compile(
    rf"\b(?P<sign>(?:minus|negative)\s+)?"
    rf"(?P<words>(?:{'|'.join(sorted(_VALUES, key=len, reverse=True))})(?:(?:\s*-\s*"
    rf"|\s+and\s+(?!\w+[\s-]+(?:{'|'.join(_PARTS)}))"
    rf"|\s+)(?:{_WORD}))*)"
    rf"(?:\s*(?:-|\s)\s*(?P<part>{'|'.join(_PARTS)})"
    rf"|\s+and\s+(?P<above>an?|{'|'.join(_UNITS[1:10])})[\s-]+(?P<below>{'|'.join(_PARTS)})"
    rf"|\s+point(?P<decimals>(?:\s+(?:{'|'.join(_UNITS[:10])}))+))?\b"
    r"|(?P<chinese>[零〇一二两三四五六七八九十百千万亿]+)",
    re.IGNORECASE,
)
_SHARE = re.compile(
    rf"(?<![\d-])\b(?P<of>{'|'.join(_VALUES)})\s+(?:out of"
    rf"|in)\s+(?P<all>{'|'.join(_VALUES)})(?=\W*$)",
    re.IGNORECASE,
)
_CHINESE = {"零": 0, "〇": 0, "两": 2}


def in_digits(clause: str) -> str:
    """A clause without digits that spells one number, with this number in digits; others as is."""
    clause = re.sub(r"(?<!and )\ban? half(?=\W*$)", "one half", clause, flags=re.IGNORECASE)
    clause = re.sub(rf"\ba (?=(?:{'|'.join(_SCALES)})\b)", "one ", clause, flags=re.IGNORECASE)
    if share := _SHARE.search(clause):
        above, below = (_VALUES[share[group].casefold()] for group in ("of", "all"))
        return f"{clause[: share.start()]}{above}/{below}{clause[share.end() :]}"
    numerals = [] if re.search(r"\d", clause) else [*_NUMERAL.finditer(clause)]
    if len(numerals) != 1 or clause.rstrip().endswith("?"):
        return clause
    match = numerals[0]
    before, after = clause[: match.start()], clause[match.end() :]
    digits = _chinese(match["chinese"]) if match["chinese"] else _english(match)
    is_counted = re.match(r"\s(?:week|day|hour|minute|second|month|year|dollar)\b", after)
    if digits is None or (digits == "1" and not is_counted and re.search(r"\w", before + after)):
        return clause  # "one" is a pronoun as well
    return f"{before}{digits}{after}"


def is_number_word(word: str) -> bool:
    return word in _VALUES or word in _SCALES or word in _PARTS


def _english(match: re.Match[str]) -> str | None:
    words = re.findall(r"[a-z]+", match["words"].casefold())
    value = _value([word for word in words if word != "and"])
    if value is None:
        return None
    digits = f"{'-' if match['sign'] else ''}{value}"
    if match["part"]:
        return f"{digits}/{_PARTS[match['part'].casefold()]}"
    if match["below"]:
        above = _VALUES.get(match["above"].casefold(), 1)
        return f"{digits} {above}/{_PARTS[match['below'].casefold()]}"
    decimals = [str(_VALUES[word]) for word in (match["decimals"] or "").casefold().split()]
    return f"{digits}.{''.join(decimals)}" if decimals else digits


def _chinese(numeral: str) -> str | None:
    """None where it has no place, as in a sequence of digits."""
    if len(numeral) > 1 and not re.search("[十百千万亿]", numeral):
        return None
    total, group, digit = 0, 0, 0
    for character in numeral:
        value = _CHINESE.get(character, int(unicodedata.numeric(character)))
        if value < 10:
            digit = value
        elif value < 10_000:
            group, digit = group + max(digit, 1) * value, 0
        else:
            total, group, digit = (total + group + digit) * value, 0, 0
    return str(total + group + digit)


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
