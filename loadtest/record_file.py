"""Files of records: written while a run goes on, and read again from a run's report or lines."""

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import IO, Any, cast

from loadtest.plan import PlanError
from loadtest.record import Record
from router.json_text import Fields, parse_object

_FORMER_KEYS = {"late": "start_delay", "at": "scheduled_at"}
_NEEDED = [field.name for field in fields(Record) if field.default is MISSING]
_FORMER_VALUES = {("ended", "left"): "disconnected", ("client", "waiting"): "normal"}


class RecordWriter:
    """Writes each record as a line of JSON, so that a killed run loses none.

    Args:
        file: unbuffered. Once a write fails, nothing more is written and `failure` has the reason.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failure: str | None = None

    def write(self, record: Record) -> None:
        if self.failure is not None:
            return
        line = json.dumps(asdict(record)).encode() + b"\n"
        try:
            complete = self._file.write(line) == len(line)
        except OSError as error:
            self.failure = error.strerror
        else:
            if not complete:
                self.failure = "no space left"


def read_records(file: Path) -> list[Record]:
    """The records of an earlier run; see `read_run`."""
    return read_run(file)[0]


def read_run(file: Path) -> tuple[list[Record], list[str]]:
    """The records of an earlier run, and the notes of its report on what was omitted.

    The file is the run's JSON report, or its lines of records, which have no notes. An incomplete
    line at the end, as a killed run leaves it, is ignored.

    Raises:
        PlanError: the file is neither, or has no records.
    """
    try:
        rows, notes = _rows(file.read_text(encoding="utf-8-sig"))
        records = [_record(place, row) for place, row in rows]
    except OSError as error:
        raise PlanError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{file} has no records of tops load: it is not UTF-8 text") from error
    except ValueError as error:
        raise PlanError(f"{file} has no records of tops load: {error}") from error
    if not records:
        raise PlanError(f"{file} has no records")
    if former := sorted({key for _, row in rows for key in _FORMER_KEYS if key in row}):
        names = ", ".join(f"{key} is now {_FORMER_KEYS[key]}" for key in former)
        print(f"warning: {file} has former keys: {names}", file=sys.stderr)
    return records, notes


def _record(place: str, row: Mapping[str, Any]) -> Record:
    current = {_FORMER_KEYS.get(key, key): cell for key, cell in row.items()}
    for (key, former), cell in _FORMER_VALUES.items():
        if current.get(key) == former:
            current[key] = cell
    if missing := [name for name in _NEEDED if name not in current]:
        raise ValueError(f"{place}: field {missing[0]} is missing")
    names = {field.name for field in fields(Record)}
    return Record(**{name: current[name] for name in names & current.keys()})


def _rows(text: str) -> tuple[list[tuple[str, Fields]], list[str]]:
    """The records, each with its place, and the notes. Raises ValueError: there are none."""
    first, _, remainder = text.partition("\n")
    if not remainder.strip() and "records" in (report := parse_object(first)):
        rows = cast("list[Any]", report["records"])
        if not all(isinstance(row, Fields) for row in rows):
            raise ValueError("a record is not an object")
        notes = [str(note) for note in report.get("run_notes", [])]
        return [(f"record {n}", row) for n, row in enumerate(rows, 1)], notes
    lines: list[tuple[str, Fields]] = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            lines.append((f"line {number}", parse_object(line)))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return lines, []
