"""What an answer is checked against, besides the gold answer's text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from router.answers.choice_text import lettered, listed_choices


@dataclass(frozen=True)
class GymItem:
    """An item of reasoning-gym, for its own scorer; all but texts in the form of `sandbox.gym`."""

    task: str
    difficulty: Mapping[str, Any]
    question: str
    answer: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class ProgramTests:
    """Python statements that fail unless the program before them is right; `prompt` may be code."""

    tests: str
    prompt: str


@dataclass(frozen=True)
class Choices:
    """The text of each choice by its letter."""

    texts: Mapping[str, str]


Check = GymItem | ProgramTests | Choices


def read_check(row: Mapping[str, Any], prompt: str) -> Check | None:
    """The check of a problem's row: `reasoning_gym`, `tests` or `choices`, or None.

    A prompt that lists choices line by line has them without a field.

    Raises:
        TypeError, ValueError: the field is malformed, or there are two of them.
    """
    names = [name for name in ("reasoning_gym", "tests", "choices") if row.get(name) is not None]
    if len(names) > 1:
        raise ValueError(f"it has both {names[0]} and {names[1]}: a problem is checked in one way")
    if not names:
        listed = listed_choices(prompt)
        return Choices(listed) if listed else None
    value = row[names[0]]
    if names == ["tests"]:
        if not isinstance(value, str) or not value.strip():
            raise TypeError("field tests is not Python code in a text")
        return ProgramTests(value, prompt)
    if names == ["choices"]:
        return Choices(_choices(value))
    return _gym_item(value)


def check_row(check: Check | None) -> dict[str, Any]:
    """The fields from which `read_check`, with the prompt among them, makes the same check."""
    if isinstance(check, GymItem):
        return {"reasoning_gym": vars(check)}
    if isinstance(check, ProgramTests):
        return {"tests": check.tests, "prompt": check.prompt}
    return {} if check is None else {"choices": dict(check.texts)}


def _gym_item(value: Any) -> GymItem:
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    texts = [fields.get("task"), fields.get("question"), fields.get("answer") or ""]
    tables = [fields.get("difficulty"), fields.get("metadata")]
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(table, dict) for table in tables
    ):
        raise TypeError(
            "field reasoning_gym needs task, difficulty, question, answer and metadata, as "
            "tops problems --reasoning-gym writes them"
        )
    names = ("task", "difficulty", "question", "answer", "metadata")
    return GymItem(*(fields.get(name) for name in names))  # type: ignore[arg-type] - seen above


def _choices(value: Any) -> dict[str, str]:
    members: Any = value
    if isinstance(members, dict):
        table = cast("dict[Any, Any]", members)
        if all(isinstance(text, str) and re.fullmatch("[A-Z]", key) for key, text in table.items()):
            return dict(table)
    elif isinstance(members, list):
        texts = cast("list[Any]", members)
        if len(texts) > 1 and all(isinstance(text, str) for text in texts):
            return lettered(cast("Sequence[str]", texts))
    raise TypeError("field choices is neither a list of texts nor an object of letters and texts")
