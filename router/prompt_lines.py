"""Prompts that a command reads as JSON Lines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from router.json_text import parse_object


def read_prompts(
    lines: Iterable[str], name: str
) -> Iterator[tuple[str, Mapping[str, object], str | list[object]]]:
    """The place, the object and the messages of each line; empty lines are skipped.

    Raises:
        ValueError: a line is no JSON object with `prompt` or `messages`; the message has `name` and
            the line's number.
    """
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{name}:{number}"
                yield place, *_read(line.removeprefix("\ufeff"), place)  # a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text") from error


def _read(line: str, place: str) -> tuple[Mapping[str, object], str | list[object]]:
    try:
        fields = parse_object(line)
        messages = messages_of(fields)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if messages is None:
        raise ValueError(f"{place}: neither prompt nor messages")
    return fields, messages


def messages_of(fields: Mapping[str, object]) -> str | list[object] | None:
    """The `messages` of a row, or its `prompt`; None where both are missing or empty.

    Raises:
        ValueError: they are of another type.
    """
    messages = fields.get("messages") or fields.get("prompt") or None
    if messages is not None and not isinstance(messages, str | list):
        raise ValueError("neither prompt nor messages")
    return cast("str | list[object] | None", messages)


def kind_of(fields: Mapping[str, object]) -> str | None:
    """The kind of traffic that a line names, as in an outcome row."""
    kind = fields.get("kind")
    if isinstance(kind, bool) or not isinstance(kind, str | int):
        return None
    return str(kind) or None
