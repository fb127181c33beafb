"""The number that an answer ends on, by value.

The judges of outcomes and of load tests must read the same number from the same text. They live in
packages that do not import each other, so the reading lives in the leaf package that both import.
"""

import re
from decimal import Decimal

NUMBER = re.compile(
    r"(?<![A-Za-z\d.^])(?:[-\u2212]\$?)?"
    r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+|(?=\.\d))(?:\.\d+)?(?!\d)"
)
"""A number in running text: sign, thousands separators and decimals, but no exponent or unit."""

_NUMERATOR = re.compile(r"([-\u2212]?\d+)\s*/\s*$")


def final_number(text: str) -> Decimal | None:
    """The value of a text's last number; None where the text has none.

    Signs (also U+2212), decimals, thousands separators and fractions are read; exponents are not.
    """
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        return None
    number = _decimal(numbers[-1][0])
    numerator = _NUMERATOR.search(text, 0, numbers[-1].start())
    return _decimal(numerator[1]) / number if numerator and number else number


def _decimal(text: str) -> Decimal:
    return Decimal(text.translate({ord(","): "", ord("$"): "", 0x2212: "-"}))
