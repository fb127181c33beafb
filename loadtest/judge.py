"""Whether an answer is right, and can be counted."""

import re

from loadtest.record import Record
from router.final_number import NUMBER, final_number

_ONLY_A_NUMBER = re.compile(rf"\s*\$?\s*{NUMBER.pattern}\s*%?\s*")


def judge(record: Record, known: str | None, content: str) -> None:
    """Hold an answer against the known one, where there is one that `judgeable` takes.

    An answer that cannot be counted is an error too: no silent zero in a table.
    """
    record.answered = bool(content.strip())
    if known is not None:
        given = final_number(content)
        record.correct = given is not None and given == final_number(known)
    if record.completion_tokens is None:
        record.error = "no usage"
    elif record.budget is not None and record.thinking_tokens is None:
        record.error = "no reasoning_tokens"


def judgeable(known: str) -> bool:
    """Whether a known answer is a number and nothing else; others cannot be judged here."""
    return _ONLY_A_NUMBER.fullmatch(known) is not None
