"""Judge an answer against the gold one: the last number that the visible answer gives."""

import re
from decimal import Decimal

_NUMBER = re.compile(
    r"(?<![A-Za-z\d.])[-\u2212]?(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+|(?=\.\d))(?:\.\d+)?(?!\d)"
)
_CUT = re.compile(r"[\d.,]*\d$")


def last_number(text: str) -> Decimal | None:
    """The last number in a text; signs, decimals and thousands separators are understood."""
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("\u2212", "-")) if found else None


def is_correct(answer: str, gold: str, truncated: bool = False) -> bool:
    """Whether the last number of the answer is the gold number.

    A number that ends a `truncated` answer is not read: more digits may have been to come.
    """
    given = last_number(_CUT.sub("", answer) if truncated else answer)
    return given is not None and given == last_number(gold)
