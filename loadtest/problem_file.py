"""Parses problems and conversations in the formats of other projects.

JSON Lines or a JSON list of ShareGPT's `conversations`, OpenAI's `messages`, MT-bench's `turns`, or
single prompts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from loadtest.plan import PlanError
from loadtest.problem import Conversation, Problem

_USER_ROLES = ("human", "user")
_SYSTEM_ROLES = ("system", "developer")


def parse_conversations(file: str, text: str) -> list[Conversation]:
    """The user's turns of each row; empty for a row without a user message.

    Raises:
        PlanError: a row is invalid, or its id repeats.
    """
    conversations: list[Conversation] = []
    ids, unnamed = set[str](), Counter[str]()
    for location, row in _rows(file, text):
        try:
            system, prompts = _system_and_prompts(row)
            row_id: Any = row.get("problem_id", row.get("question_id"))
            if row_id is None:
                row_id = _content_id(prompts)
                unnamed[row_id] += 1
                row_id += f"#{unnamed[row_id]}" if unnamed[row_id] > 1 else ""
            row_id = str(row_id)
            turns = _turns(row, row_id, system, prompts)
        except (KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"{location}: invalid problem: {error!r}") from error
        conversations.append(turns)
        if not turns:
            continue
        if row_id in ids:
            raise PlanError(f"{location}: the id {row_id} repeats")
        ids.add(row_id)
    return conversations


def _content_id(prompts: Sequence[str]) -> str:
    """An id from the prompts, so that runs of different files can be compared."""
    content = "\0".join(prompts).encode(errors="surrogatepass")
    return hashlib.sha256(content).hexdigest()[:12]


def _rows(file: str, text: str) -> Iterator[tuple[str, Any]]:
    """Each row with its location for error messages."""
    if text.lstrip().startswith("["):
        try:
            rows = cast("list[Any]", json.loads(text, parse_constant=_null))
        except ValueError as error:
            raise PlanError(f"{file}: {error}") from error
        yield from ((f"{file}, conversation {index}", row) for index, row in enumerate(rows))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        location = f"{file}, line {number}"
        try:
            row = json.loads(line, parse_constant=_null)
        except ValueError as error:
            raise PlanError(f"{location}: {error}") from error
        yield location, row


def _null(_: str) -> None:
    """NaN, which pandas writes for what is missing."""


def _turns(
    row: Mapping[str, Any], row_id: str, system: str | None, prompts: Sequence[str]
) -> Conversation:
    answer, difficulty = row.get("answer"), row.get("difficulty")
    multi_turn = len(prompts) > 1
    check = None if multi_turn else row.get("reasoning_gym")
    return tuple(
        Problem(
            f"{row_id}.{turn}" if multi_turn else row_id,
            prompt,
            None if multi_turn or answer is None else str(answer),
            difficulty if isinstance(difficulty, int | float) else None,
            None if turn else system,
            check,
        )
        for turn, prompt in enumerate(prompts)
    )


def _system_and_prompts(row: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    messages = _messages(row)
    systems = [_text(content) for role, content in messages if role in _SYSTEM_ROLES]
    prompts = [_text(content) for role, content in messages if role in _USER_ROLES]
    return "\n\n".join(systems) or None, prompts


def _messages(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Role and content of each message, in any of the formats."""
    if "conversations" in row:
        return [(message["from"], message["value"]) for message in row["conversations"]]
    present = (row[name] for name in ("prompt", "turns") if row.get(name) is not None)
    turns: Any = next(present, None)
    if turns is None:
        turns = row["messages"]
    if isinstance(turns, str):
        turns = [turns]
    if not isinstance(turns, list):
        raise TypeError(f"{turns!r:.50} is neither text nor a list")
    messages = [*cast("list[Any]", turns), *filter(None, [row.get("turn2")])]
    return [
        ("user", message)
        if isinstance(message, str)
        else (message.get("role", "user"), message["content"])
        for message in messages
    ]


def _text(content: Any) -> str:
    """A message's text; of OpenAI's content parts, those that are text."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
