"""Arrival times recorded at another server, read from a trace file."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from loadtest.plan import PlanError

_MAX_BROKEN_SHARE = 0.01
_TIME_COLUMNS: Mapping[str, Callable[[Any], float]] = {
    "scheduled_at": float,
    "at": float,
    "timestamp": lambda cell: float(cell) / 1000,
    "TIMESTAMP": lambda cell: _assume_utc(datetime.fromisoformat(cell)).timestamp(),
}
"""Converters to seconds, by the column's name."""


@dataclass(frozen=True)
class Trace:
    """Seconds since the first arrival, ascending, and the number of lines without a time."""

    times: list[float]
    broken_lines: int


def read_trace(file: Path) -> Trace:
    """Read a trace: JSON Lines, or CSV with a header. Empty lines are ignored.

    The time column is `scheduled_at` in seconds (as in the records of a load test; formerly `at`),
    `timestamp` in milliseconds (Mooncake's traces), or `TIMESTAMP` as a date and time, UTC unless
    it has a zone (Azure's traces).

    Raises:
        PlanError: the file cannot be read, has no arrivals, or over 1 % of its lines are broken.
    """
    try:
        lines = [line for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        rows = csv.DictReader(lines) if file.suffix == ".csv" else (_json(line) for line in lines)
        seconds = [_seconds(row) for row in rows]
    except OSError as error:
        raise PlanError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{file} is not UTF-8 text") from error
    except csv.Error as error:
        raise PlanError(f"{file}: {error}") from error
    times = sorted(time for time in seconds if time is not None)
    broken_lines = len(seconds) - len(times)
    if not times or broken_lines > _MAX_BROKEN_SHARE * len(seconds):
        raise PlanError(
            f"{file}: {broken_lines} of {len(seconds)} lines have no time in one of the columns "
            f"{', '.join(_TIME_COLUMNS)}"
        )
    return Trace([time - times[0] for time in times], broken_lines)


def _assume_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _json(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _seconds(row: Any) -> float | None:
    for name, convert in _TIME_COLUMNS.items():
        try:
            time = convert(row[name])
            return time if isfinite(time) else None
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
    return None
