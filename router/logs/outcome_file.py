"""Files in the outcome format: JSON Lines, and a pair NAME.outcomes.csv + NAME.problems.jsonl."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import orjson

from router.json_text import parse_json
from router.logs.row import OutcomeError, Rows, Skipped
from router.logs.stream import DAMAGE, open_bytes, open_text

_OF_PROBLEM = ("prompt", "messages", "kind")
"""What a pair of files may have in the problems file."""
_BOM = b"\xef\xbb\xbf"
_SHOWN = 5


def json_lines(path: str, skipped: Skipped) -> Rows:
    """Each JSON object of a file, with its line. Raises OutcomeError: the file is damaged."""
    location = f"{path}:1"
    try:
        with open_bytes(path) as stream:
            for number, line in enumerate(stream, 1):
                location = f"{path}:{number}"
                text = line.removeprefix(_BOM) if number == 1 else line
                if not text.strip():
                    continue
                try:
                    fields = _parse(text)
                except UnicodeDecodeError:
                    raise
                except ValueError as error:
                    skipped.broken.append(f"{location}: {error}")
                    continue
                if isinstance(fields, dict):
                    yield location, cast("dict[str, object]", fields)
                else:
                    skipped.broken.append(f"{location}: not an object")
    except DAMAGE as error:
        raise damaged(location, error) from error


def _parse(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN, which pandas writes, and integers of any size
        return parse_json(line.decode())


def csv_rows(path: str) -> Rows:
    """The rows of a CSV file, with the prompts of the problems file beside it, if there is one.

    Raises OutcomeError: the file is damaged.
    """
    location = f"{path}:1"
    try:
        with open_text(path) as stream:
            reader = csv.DictReader(stream)
            problems = {} if "prompt" in (reader.fieldnames or ()) else _problems_beside(Path(path))
            for number, row in enumerate(reader, 2):
                location = f"{path}:{number}"
                fields: dict[str, object] = {key: value for key, value in row.items() if key}
                yield location, fields | {**problems.get(str(fields.get("problem_id")), {})}
    except (*DAMAGE, csv.Error) as error:
        raise damaged(location, error) from error


def problems_of(path: str) -> dict[str, Mapping[str, object]]:
    """Prompts and kinds by problem_id, from a problems file. Raises OutcomeError: broken lines."""
    skipped = Skipped()
    rows = list(json_lines(path, skipped))
    if skipped.broken:
        raise OutcomeError(f"{path} has broken lines: {listed(skipped.broken)}")
    return {
        str(fields.get("problem_id")): {
            name: fields[name] for name in _OF_PROBLEM if fields.get(name)
        }
        for _, fields in rows
    }


def _problems_beside(path: Path) -> dict[str, Mapping[str, object]]:
    stem = path.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".outcomes")
    for ending in (".problems.jsonl.gz", ".problems.jsonl"):
        problems = path.with_name(stem + ending)
        if problems.exists():
            return problems_of(str(problems))
    return {}


def damaged(location: str, error: Exception) -> OutcomeError:
    """The error of a file that ends or changes where it should not."""
    return OutcomeError(f"{location}: the file is truncated or damaged here: {error}")


def listed(items: Iterable[str], shown: int = _SHOWN) -> str:
    """The first of many items, and how many more there are."""
    every = list(items)
    remainder = f" and {len(every) - shown} more" if len(every) > shown else ""
    return "; ".join(every[:shown]) + remainder
