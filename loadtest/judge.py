"""Whether an answer is right, and can be counted."""

import re
from decimal import Decimal

from loadtest.record import Record

_NUMBER = re.compile(
    r"(?<![A-Za-z\d.^])(?:[-\u2212]\$?)?"
    r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+|(?=\.\d))(?:\.\d+)?(?!\d)"
)
_OVER = re.compile(r"([-\u2212]?\d+)\s*/\s*$")
_ONLY_A_NUMBER = re.compile(rf"\s*\$?\s*{_NUMBER.pattern}\s*%?\s*")


def judge(record: Record, known: str | None, content: str) -> None:
    """Hold an answer against the known one, where there is one that `judgeable` takes.

    An answer that cannot be counted is an error too: no silent zero in a table.
    """
    record.answered = bool(content.strip())
    if known is not None:
        given = last_number(content)
        record.correct = given is not None and given == last_number(known)
    if record.completion_tokens is None:
        record.error = "no usage"
    elif record.budget is not None and record.thinking_tokens is None:
        record.error = "no reasoning_tokens"


def judgeable(known: str) -> bool:
    """Whether a known answer is a number and nothing else; others cannot be judged here."""
    return _ONLY_A_NUMBER.fullmatch(known) is not None


def last_number(text: str) -> Decimal | None:
    """The last number in a text.

    Signs, decimals, thousands separators and fractions are understood; exponents are none.
    """
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    number = _decimal(found[-1][0])
    over = _OVER.search(text, 0, found[-1].start())
    return _decimal(over[1]) / number if over and number else number


def _decimal(text: str) -> Decimal:
    return Decimal(text.translate({ord(","): "", ord("$"): "", 0x2212: "-"}))
