"""Judges answers: whether they are correct, and whether their tokens were reported."""

import re

from loadtest.record import Record
from router.final_number import NUMBER, final_number

_ONLY_A_NUMBER = re.compile(rf"\s*\$?\s*{NUMBER.pattern}\s*%?\s*")


def judge(record: Record, reference: str | None, content: str) -> None:
    """Set `answered`, `correct` and, where counts are missing, `error` of a record.

    An answer without usage is an error, so that no table has a silent zero.

    Args:
        record: of the request that was answered.
        reference: the right answer, for which `judgeable` holds; None where there is none.
        content: the answer's text.
    """
    record.answered = bool(content.strip())
    if reference is not None:
        number = final_number(content)
        record.correct = number is not None and number == final_number(reference)
    if record.completion_tokens is None:
        record.error = "no usage"
    elif record.budget is not None and record.thinking_tokens is None:
        record.error = "no reasoning_tokens"


def judgeable(reference: str) -> bool:
    """Whether a reference answer is a number and nothing else."""
    return _ONLY_A_NUMBER.fullmatch(reference) is not None
