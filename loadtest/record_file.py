"""Files of records: written while a run goes on, and read again from a run's report or lines."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from loadtest.plan import PlanError
from loadtest.record import Record

_FORMER_KEYS = {"late": "start_delay", "at": "scheduled_at"}
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
        records = [_record(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{file} has no records of tops load: {error!r}") from error
    if not records:
        raise PlanError(f"{file} has no records")
    if former := sorted({key for row in rows for key in _FORMER_KEYS if key in row}):
        names = ", ".join(f"{key} is now {_FORMER_KEYS[key]}" for key in former)
        print(f"warning: {file} has former keys: {names}", file=sys.stderr)
    return records, notes


def _record(row: Mapping[str, Any]) -> Record:
    current = {_FORMER_KEYS.get(key, key): cell for key, cell in row.items()}
    for (key, former), cell in _FORMER_VALUES.items():
        if current.get(key) == former:
            current[key] = cell
    names = {field.name for field in fields(Record)}
    return Record(**{name: current[name] for name in names & current.keys()})


def _rows(text: str) -> tuple[Sequence[dict[str, Any]], list[str]]:
    line, _, remainder = text.partition("\n")
    if not remainder.strip() and "records" in (report := json.loads(line)):
        return report["records"], [str(note) for note in report.get("run_notes", [])]
    return [json.loads(line) for line in text.split("\n")[:-1]], []
