"""Whether an answer is right, and can be counted."""

import re
from decimal import Decimal

from loadtest.problems import Problem
from loadtest.record import Record

_NUMBER = re.compile(
    r"(?<![A-Za-z\d.])[-\u2212]?(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+|(?=\.\d))(?:\.\d+)?(?!\d)"
)


def judge(record: Record, problem: Problem, content: str) -> None:
    """An answer that cannot be counted is an error too: no silent zero in a table."""
    record.answered = bool(content.strip())
    if problem.answer is not None:
        given = last_number(content)
        record.correct = given is not None and given == last_number(problem.answer)
    if record.completion_tokens is None:
        record.error = "no usage"
    elif record.budget is not None and record.thinking_tokens is None:
        record.error = "no reasoning_tokens"


def last_number(text: str) -> Decimal | None:
    """The last number in a text; signs, decimals and thousands separators are understood."""
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("\u2212", "-")) if found else None
