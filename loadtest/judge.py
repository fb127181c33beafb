"""Judges answers: whether they are correct, and whether their tokens were reported."""

from loadtest.record import Record
from router.answers.number import lone_number
from router.answers.verdict import is_correct


def judge(record: Record, reference: str | None, content: str, question: str = "") -> None:
    """Set `answered`, `correct` and, where counts are missing, `error` of a record.

    An answer without usage is an error, so that no table has a silent zero.

    Args:
        record: of the request that was answered.
        reference: the right answer, for which `judgeable` holds; None where there is none.
        content: the answer's text.
        question: the request's prompt.
    """
    record.answered = bool(content.strip())
    if reference is not None and judgeable(reference):
        record.correct = is_correct(content, reference, question=question)
    if record.completion_tokens is None:
        record.error = "no usage"
    elif record.budget is not None and record.thinking_tokens is None:
        record.error = "no reasoning_tokens"


def judgeable(reference: str) -> bool:
    """Whether a reference answer is a number and nothing else."""
    return lone_number(reference) is not None
