"""The rows of any source of outcomes; its format is recognised by content, not by name."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from router.logs import harness_log, inspect_log, ledger_log
from router.logs.json_document import first_names
from router.logs.log_options import LogOptions
from router.logs.outcome_file import csv_rows, damaged, json_lines
from router.logs.row import OutcomeError, Rows, Skipped
from router.logs.stream import DAMAGE, open_bytes, open_text

_HEAD = 1 << 16
_ZIP = b"PK\x03\x04"
_SQLITE = b"SQLite format 3\0"


def sources(paths: Iterable[str | Path]) -> Iterator[str]:
    """Paths and database URLs; of a folder, its files that hold outcomes.

    Raises OutcomeError: a folder without any.
    """
    for path in map(str, paths):
        if "://" in path or not Path(path).is_dir():
            yield path
            continue
        files = [str(file) for file in sorted(Path(path).rglob("*")) if file.is_file()]
        chosen = [file for file in files if kind_of(file) not in ("results", "problems", "unknown")]
        if not chosen:
            raise OutcomeError(f"{path}: no file in this folder holds outcomes")
        yield from chosen


def kind_of(source: str) -> str:
    """ledger, archive, document, samples, results, csv, problems, outcomes or unknown."""
    if "://" in source:
        return "ledger"
    if Path(source).exists() and not Path(source).is_file():  # a pipe, which is read once
        return "outcomes"
    try:
        with open_bytes(source) as stream:
            head = stream.read(_HEAD)
    except DAMAGE as error:
        raise damaged(f"{source}:1", error) from error
    if head.startswith((_SQLITE, _ZIP)):
        return "ledger" if head.startswith(_SQLITE) else "archive"
    text = head.decode("utf-8-sig", errors="replace")
    if not text.lstrip().startswith("{"):
        return "csv" if source.removesuffix(".gz").endswith(".csv") else "unknown"
    return _kind_of_object(first_names(io.StringIO(text)))


def _kind_of_object(names: Sequence[str]) -> str:
    """The kind of a file that begins with a JSON object with these names."""
    has = set(names)
    kinds = {
        "document": "eval" in has and bool(has & {"version", "status"}),
        "samples": harness_log.is_sample(names),
        "results": harness_log.is_results(names),
        "problems": "problem_id" in has and not has & {"effort", "correct", "model"},
        "outcomes": bool(has & {"problem_id", "effort"}),
    }
    return next((kind for kind, matches in kinds.items() if matches), "unknown")


def rows(source: str, model: str | None, options: LogOptions, skipped: Skipped) -> Rows:
    """The rows of a source that is no problems file. Raises OutcomeError."""
    kind = kind_of(source)
    if kind == "ledger":
        yield from ledger_log.ledger_rows(source, skipped)
    elif kind == "archive":
        yield from inspect_log.archive_rows(source, options, skipped)
    elif kind == "document":
        try:
            with open_text(source) as stream:
                yield from inspect_log.document_rows(source, stream, options, skipped)
        except DAMAGE as error:
            raise damaged(source, error) from error
    elif kind == "samples":
        lines = json_lines(source, skipped)
        yield from harness_log.sample_rows(source, lines, model, options, skipped)
    elif kind == "csv":
        yield from csv_rows(source)
    elif kind != "results":  # a samples file reads the results beside it
        yield from json_lines(source, skipped)
