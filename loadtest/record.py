"""What became of one request, and files of that."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from loadtest.plan import Client, PlanError

Ended = Literal["answer", "refused", "left", "error"]


@dataclass
class Record:
    """What one request did; times in seconds. `error` is its class, None where none was made.

    `at` is when it was due, on the clock of `time.perf_counter`. `latency` and `ttft` (to the first
    token of reasoning or answer) count from then, not from when it was sent: `late` is the
    difference. `ended` is how it ended: in an answer, in a refusal that was right, by the client's
    leaving, or in an error. `status` is HTTP's, None where there was no answer at all; `message` is
    what the server said of an error. `correct` is None where nothing is known to judge by.
    Requests of one `conversation` depend on each other; it is the id of its first problem.
    `request_id` is what the request told the server in its header `x-request-id`: to find it in the
    server's log.
    """

    arm: str
    problem_id: str
    budget: int | None
    client: Client = "waiting"
    turn: int = 0
    at: float = 0.0
    latency: float = 0.0
    late: float = 0.0
    ttft: float | None = None
    effort: str | None = None
    source: str | None = None
    budget_hit: bool | None = None
    thinking_tokens: int | None = None
    completion_tokens: int | None = None
    correct: bool | None = None
    answered: bool = False
    ended: Ended = "answer"
    status: int | None = None
    error: str | None = None
    message: str | None = None
    request_id: str = ""
    conversation: str = ""
    difficulty: float | None = None

    @property
    def answer_tokens(self) -> int | None:
        """Completion tokens outside the reasoning block; None where that is not known."""
        if self.completion_tokens is None or self.thinking_tokens is None:
            return None
        return self.completion_tokens - self.thinking_tokens

    @property
    def tpot(self) -> float | None:
        """Seconds per completion token after the first; None where that is not known."""
        if self.ttft is None or (self.completion_tokens or 0) < 2:
            return None
        return (self.latency - self.ttft) / ((self.completion_tokens or 0) - 1)


def conversations(records: Iterable[Record]) -> list[list[Record]]:
    """Records of one conversation together; each alone where none is told."""
    found: dict[str, list[Record]] = {}
    for place, record in enumerate(records):
        found.setdefault(record.conversation or f" {place}", []).append(record)
    return list(found.values())


def read_records(file: Path) -> list[Record]:
    """The records of an earlier run; see `read_run`."""
    return read_run(file)[0]


def read_run(file: Path) -> tuple[list[Record], list[str]]:
    """The records of an earlier run, and what its report says was left out.

    They are those of its JSON report, or the lines it wrote as it went, which tell no more. A last
    line that a killed run left unfinished is left out.

    Raises:
        PlanError: it is neither, or has no records.
    """
    known = {field.name for field in fields(Record)}
    try:
        rows, notes = _rows(file.read_text(encoding="utf-8"))
        found = [Record(**{name: row[name] for name in known & row.keys()}) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{file} has no records of tops load: {error!r}") from error
    if not found:
        raise PlanError(f"{file} has no records")
    return found, notes


def _rows(text: str) -> tuple[Sequence[dict[str, Any]], list[str]]:
    first, _, rest = text.partition("\n")
    if not rest.strip() and "records" in (whole := json.loads(first)):
        return whole["records"], [str(note) for note in whole.get("run_notes", [])]
    return [json.loads(line) for line in text.split("\n")[:-1]], []
