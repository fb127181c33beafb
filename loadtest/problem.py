"""A problem of a load test; a conversation is a sequence of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """A question.

    Attributes:
        answer: None where it is unknown, or cannot be judged.
        difficulty: on the scale of its source.
        check: its scorer's fields, of a problem that `loadtest.scorer` judges.
        system: instructions of the conversation; only its first problem has them.
    """

    problem_id: str
    prompt: str
    answer: str | None = None
    difficulty: float | None = None
    system: str | None = None
    check: Mapping[str, Any] | None = None


Conversation = tuple[Problem, ...]
