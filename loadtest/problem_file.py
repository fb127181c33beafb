"""Parses problems and conversations in the formats of other projects.

JSON Lines or a JSON list of ShareGPT's `conversations`, OpenAI's `messages`, MT-bench's `turns`, or
single prompts.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from loadtest.plan import PlanError
from loadtest.problem import Conversation, Problem
from router.json_text import Fields, parse_json

_USER_ROLES = ("human", "user")
_SYSTEM_ROLES = ("system", "developer")


def parse_conversations(file: str, text: str) -> list[Conversation]:
    """The user's turns of each row; empty for a row without a user message.

    Raises:
        PlanError: a row is invalid, or its id repeats.
    """
    conversations: list[Conversation] = []
    ids, unnamed = set[str](), Counter[str]()
    for location, value in _rows(file, text):
        try:
            row = _object(value)
            system, prompts = _system_and_prompts(row)
            row_id: Any = row.get("problem_id", row.get("question_id"))
            if row_id is None:
                row_id = _content_id(prompts)
                unnamed[row_id] += 1
                row_id += f"#{unnamed[row_id]}" if unnamed[row_id] > 1 else ""
            row_id = str(row_id)
            turns = _turns(row, row_id, system, prompts)
        except (ValueError, TypeError) as error:
            raise PlanError(f"{location}: invalid problem: {error}") from error
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
        rows = cast("list[Any]", _parse(text, file))
        yield from ((f"{file}, conversation {index}", row) for index, row in enumerate(rows))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        location = f"{file}, line {number}"
        yield location, _parse(line, location)


def _parse(text: str, location: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise PlanError(f"{location}: {error}") from error


def _object(value: Any) -> Fields:
    if not isinstance(value, Fields):
        raise TypeError(f"{value!r:.50} is not an object")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.50} is neither text nor a list")
    return cast("list[Any]", value)


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
    """Role and content of each message, in any of the formats. Raises ValueError: it has none."""
    if "conversations" in row:
        turns = map(_object, _list(row["conversations"]))
        return [(turn["from"], turn["value"]) for turn in turns]
    names = [name for name in ("prompt", "turns", "messages") if row.get(name) is not None]
    if not names:
        raise ValueError("it has no prompt, turns, messages or conversations")
    turns = row[names[0]]
    messages = [turns] if isinstance(turns, str) else _list(turns)
    return [
        ("user", message)
        if isinstance(message, str)
        else (_object(message).get("role", "user"), message["content"])
        for message in [*messages, *filter(None, [row.get("turn2")])]
    ]


def _text(content: Any) -> str:
    """A message's text; of OpenAI's content parts, those that are text."""
    if isinstance(content, str):
        return content
    parts = map(_object, _list(content))
    return "".join(part["text"] for part in parts if part["type"] == "text")
