"""When requests came to another server: a trace, to be replayed."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from loadtest.plan import PlanError

_MOST_BROKEN = 0.01
_CLOCKS: Mapping[str, Callable[[Any], float]] = {
    "at": float,
    "timestamp": lambda value: float(value) / 1000,
    "TIMESTAMP": lambda value: _of_utc(datetime.fromisoformat(value)).timestamp(),
}
"""The columns that tell the time, and how to make seconds of them."""


@dataclass(frozen=True)
class Trace:
    """Seconds from the first arrival, rising, and how many lines were broken."""

    times: list[float]
    broken: int


def read_trace(file: Path) -> Trace:
    """Read a trace: JSON Lines, or CSV with a header.

    A line tells when by `at` in seconds (as the records of a load test do), `timestamp` in
    milliseconds (as Mooncake's traces do) or `TIMESTAMP` as a date and time (as Azure's do), UTC's
    where it tells no zone. Empty lines are none.

    Raises:
        PlanError: it cannot be read, has no arrivals, or more than one line in a hundred is broken.
    """
    try:
        lines = [one for one in file.read_text(encoding="utf-8").split("\n") if one.strip()]
        told = csv.DictReader(lines) if file.suffix == ".csv" else (_json(line) for line in lines)
        found = [_seconds(row) for row in told]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PlanError(f"{file}: {error}") from error
    times = sorted(time for time in found if time is not None)
    broken = len(found) - len(times)
    if not times or broken > _MOST_BROKEN * len(found):
        raise PlanError(
            f"{file}: {broken} of {len(found)} lines do not tell when; by {', '.join(_CLOCKS)}"
        )
    return Trace([time - times[0] for time in times], broken)


def _of_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _json(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _seconds(row: Any) -> float | None:
    for name, seconds in _CLOCKS.items():
        try:
            time = seconds(row[name])
            return time if isfinite(time) else None
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
    return None
