"""Prompts that a command reads as JSON Lines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from router.json_text import parse_json


def read_prompts(lines: Iterable[str], name: str) -> Iterator[Mapping[str, object]]:
    """The objects of JSON Lines, each with `prompt` or `messages`; empty lines are skipped.

    Raises:
        ValueError: a line is not a JSON object; the message has `name` and the line's number.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields: object = parse_json(line.removeprefix("\ufeff"))  # a byte order mark
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}:{number}: not JSON ({error})") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{name}:{number}: not an object")  # noqa: TRY004 (of the data)
        yield cast("dict[str, object]", fields)


def kind_of(fields: Mapping[str, object]) -> str | None:
    """The kind of traffic that a line names, as in an outcome row."""
    kind = fields.get("kind")
    if isinstance(kind, bool) or not isinstance(kind, str | int):
        return None
    return str(kind) or None
