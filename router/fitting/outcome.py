"""One judged generation, and how a row of a file or log becomes one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import cast

from router.logs.row import Row
from router.prompt_lines import messages_of

_MISSING = ("", "nan", "na", "<na>", "none", "null")
"""What CSV files have for a missing number."""
_TRUTH = {"true": 1, "false": 0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One judged generation; `tokens` are thinking tokens if recorded, else completion tokens.

    `correct` is 0 or 1, between them where a log gives partial credit. `messages`: a prompt or
    OpenAI messages, None where there is none. `weights`: a hash. `kind`: of traffic.
    """

    problem_id: str
    messages: object
    model: str
    effort: str
    sample: int
    correct: float
    tokens: int
    weights: str | None
    kind: str | None = None


def outcome_of(fields: Row, by_problem: Mapping[str, Outcome]) -> Outcome | None:
    """The outcome of a row; None where it has no tokens. Raises ValueError for a broken row.

    It shares the prompt of a former one in `by_problem`.
    """
    problem, model, effort = (
        _text(fields, "problem_id"),
        _text(fields, "model"),
        _text(fields, "effort"),
    )
    sample = natural(fields, "sample")
    correct = _correct(fields)
    thinking = natural(fields, "thinking_tokens")
    tokens = natural(fields, "tokens") if thinking is None else thinking
    if tokens is None:
        return None
    weights = fields.get("weights")
    weights = weights if isinstance(weights, str) and weights else None
    kind = _text(fields, "kind") if fields.get("kind") not in (None, "") else None
    messages: object = messages_of(fields)
    former = by_problem.get(problem)
    if former is not None and former.messages == messages:
        problem, messages = former.problem_id, former.messages
    effort, model = intern(effort), intern(model)
    return Outcome(problem, messages, model, effort, sample or 0, correct, tokens, weights, kind)


def _correct(fields: Row) -> float:
    """1 or 0, or true or false in any case; a log's score, from 0 to 1. Raises ValueError."""
    score = fields.get("score")
    if isinstance(score, int | float):
        if not 0 <= score <= 1:
            raise ValueError(f"score {score} is not from 0 to 1")
        return float(score)
    value = fields.get("correct")
    if isinstance(value, str) and value.strip().lower() in _TRUTH:
        return _TRUTH[value.strip().lower()]
    correct = natural(fields, "correct")
    if correct not in (0, 1):
        raise ValueError("field correct is not 0 or 1, true or false")
    return correct


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if type(value) is str and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"field {name} is missing or not text")
    return value


def natural(fields: Mapping[str, object], name: str) -> int | None:
    """An integer of 0 or more; None where absent or null. Raises ValueError."""
    value = fields.get(name)
    if type(value) is int and value >= 0:
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
        return None
    try:
        number = float(cast("str | float", value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"field {name} is not a number: {str(value)[:40]!r}") from error
    if not math.isfinite(number) or number < 0 or number != int(number):
        raise ValueError(f"field {name} is not a whole number of 0 or more: {str(value)[:40]!r}")
    return int(number)
