"""Read outcome files: one judged generation per row, checked line by line.

Two formats, either may be gzipped: JSON Lines with the prompt in each row, and a pair
NAME.outcomes.csv + NAME.problems.jsonl. A broken line is skipped with a warning; a file with too
many broken lines is refused. Knows nothing of features or fitting.
"""

import csv
import gzip
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from router.json_text import parse_json

_MAX_BROKEN_SHARE = 0.1
"""A file with a larger share of broken lines is refused."""
_MAX_SHOWN = 5
_ENCODING = "utf-8-sig"
"""UTF-8, with or without the byte order mark that spreadsheets write."""

_OF_PROBLEM = ("prompt", "messages", "kind")
"""What a pair of files may have in the problems file."""

_MISSING = ("", "nan", "na", "<na>", "none", "null")
"""What CSV files have for a missing number."""


class OutcomeError(Exception):
    """The outcomes cannot be used; the message names the file, the line and the reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One judged generation; `tokens` are thinking tokens if recorded, else completion tokens.

    `correct` is 0 or 1, `messages` a prompt or OpenAI messages, `weights` a hash, `kind` a kind of
    traffic.
    """

    problem_id: str
    messages: object
    model: str
    effort: str
    sample: int
    correct: int
    tokens: int
    weights: str | None
    kind: str | None = None


@dataclass(frozen=True)
class OutcomeSet:
    """The outcomes of one model, with warnings for the user and the number of skipped rows.

    `thinking`: whether every row's tokens are its thinking tokens.
    """

    outcomes: tuple[Outcome, ...]
    model: str
    weights: str | None
    warnings: tuple[str, ...]
    skipped: int
    thinking: bool = False


@dataclass
class _Tally:
    """Rows skipped while reading, and counts of the others."""

    broken: list[str]
    duplicates: list[str]
    usable: int = 0
    without_tokens: int = 0
    thinking: int = 0
    completion: int = 0


def read_outcomes(paths: Sequence[str | Path], model: str | None = None) -> OutcomeSet:
    """Read the rows of `model` from outcome files; None where they hold one model only.

    Raises OutcomeError: unreadable or truncated file, too many broken lines, several models or
    weights, no rows with tokens.
    """
    tally = _Tally([], [])
    outcomes: dict[tuple[str, str, str, int], Outcome] = {}
    models: Counter[str] = Counter()
    for path in map(Path, paths):
        for location, fields in _rows(path, tally):
            try:
                outcome = _outcome(fields)
            except ValueError as error:
                tally.broken.append(f"{location}: {error}")
                continue
            models[str(fields["model"])] += 1
            if model is not None and fields["model"] != model:
                continue
            if outcome is None:
                tally.without_tokens += 1
            else:
                key = (outcome.model, outcome.problem_id, outcome.effort, outcome.sample)
                if key in outcomes:
                    tally.duplicates.append(f"{location}: {'/'.join(map(str, key[1:]))}")
                outcomes.setdefault(key, outcome)
                has_thinking = _natural(fields, "thinking_tokens") is not None
                tally.thinking += has_thinking
                tally.completion += not has_thinking
    tally.usable = len(outcomes)
    _refuse(", ".join(map(str, paths)), model, models, tally)
    weights = {outcome.weights for outcome in outcomes.values()}
    if len(weights) > 1:
        raise OutcomeError(f"the outcomes come from different weights: {_some(map(str, weights))}")
    skipped = len(tally.broken) + len(tally.duplicates) + tally.without_tokens
    return OutcomeSet(
        tuple(outcomes.values()),
        model or next(iter(models)),
        weights.pop(),
        _warnings(tally),
        skipped,
        thinking=not tally.completion,
    )


def _refuse(files: str, model: str | None, models: Counter[str], tally: _Tally) -> None:
    """Raise OutcomeError where the set as a whole cannot be used."""
    lines = models.total() + len(tally.broken)
    if len(tally.broken) > max(_MAX_BROKEN_SHARE * lines, 1) or (tally.broken and not models):
        raise OutcomeError(
            f"{files}: {len(tally.broken)} of {lines} lines are broken: {_some(tally.broken)}"
        )
    if model is None and len(models) > 1:
        raise OutcomeError(
            f"{files}: rows of {len(models)} models; choose one with --model: "
            + _some((name for name, _ in models.most_common()), 50)
        )
    if model is not None and model not in models:
        raise OutcomeError(f"{files}: no rows of model {model!r}; there are: {_some(models, 50)}")
    if not tally.usable:
        reason = "no row has tokens" if tally.without_tokens else "there are no outcomes"
        raise OutcomeError(f"{files}: {reason}")


def _warnings(tally: _Tally) -> tuple[str, ...]:
    warnings: list[str] = []
    if tally.broken:
        warnings.append(f"{len(tally.broken)} broken lines skipped: {_some(tally.broken)}")
    if tally.duplicates:
        warnings.append(
            f"{len(tally.duplicates)} repeated rows skipped, only the first of each is used: "
            f"{_some(tally.duplicates)}"
        )
    if tally.without_tokens:
        warnings.append(f"{tally.without_tokens} rows without tokens skipped")
    if tally.thinking and tally.completion:
        warnings.append(
            f"{tally.completion} rows have no thinking_tokens, {tally.thinking} do: "
            "completion tokens are used instead"
        )
    return tuple(warnings)


def _some(items: Iterable[str], shown: int = _MAX_SHOWN) -> str:
    listed = list(items)
    remainder = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return "; ".join(listed[:shown]) + remainder


def _rows(path: Path, tally: _Tally) -> Iterator[tuple[str, Mapping[str, object]]]:
    """(location, fields) of each row of a file in either format."""
    name = path.name.removesuffix(".gz")
    if not name.endswith(".csv"):
        yield from _json_lines(path, tally)
        return
    problems = _problems(path, name)
    with _open(path) as stream:
        location = f"{path}:1"
        try:
            for number, row in enumerate(csv.DictReader(stream), 2):
                location = f"{path}:{number}"
                fields: dict[str, object] = {key: value for key, value in row.items() if key}
                yield location, fields | problems.get(str(fields.get("problem_id")), {})
        except (EOFError, OSError, UnicodeDecodeError, zlib.error, csv.Error) as error:
            raise OutcomeError(
                f"{location}: the file is truncated or damaged here: {error}"
            ) from error


def _problems(path: Path, name: str) -> dict[str, dict[str, object]]:
    """Prompts and kinds by problem_id, from the problems file of a pair."""
    stem = name.removesuffix(".csv").removesuffix(".outcomes")
    for ending in (".problems.jsonl.gz", ".problems.jsonl"):
        problems = path.with_name(stem + ending)
        if problems.exists():
            broken = _Tally([], [])
            rows = list(_json_lines(problems, broken))
            if broken.broken:
                raise OutcomeError(f"{problems} has broken lines: {_some(broken.broken)}")
            return {
                str(fields.get("problem_id")): {
                    name: fields[name] for name in _OF_PROBLEM if fields.get(name)
                }
                for _, fields in rows
            }
    raise OutcomeError(f"{path} needs {stem}.problems.jsonl in the same folder")


def _json_lines(path: Path, tally: _Tally) -> Iterator[tuple[str, Mapping[str, object]]]:
    with _open(path) as stream:
        location = f"{path}:1"
        try:
            for number, line in enumerate(stream, 1):
                location = f"{path}:{number}"
                if not line.strip():
                    continue
                try:
                    fields = parse_json(line)
                except (ValueError, RecursionError) as error:
                    tally.broken.append(f"{location}: not JSON ({error})")
                    continue
                if isinstance(fields, dict):
                    yield location, cast("dict[str, object]", fields)
                else:
                    tally.broken.append(f"{location}: not an object")
        except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
            raise OutcomeError(
                f"{location}: the file is truncated or damaged here: {error}"
            ) from error


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding=_ENCODING, newline="")
        return path.open(encoding=_ENCODING, newline="")
    except OSError as error:
        raise OutcomeError(f"{path} cannot be opened: {error.strerror}") from error


def _outcome(fields: Mapping[str, object]) -> Outcome | None:
    """The outcome of a row; None where it has no tokens. Raises ValueError for a broken row."""
    texts = [_text(fields, name) for name in ("problem_id", "model", "effort")]
    messages = fields.get("messages") or fields.get("prompt")
    if not messages or not isinstance(messages, str | list):
        raise ValueError("neither prompt nor messages")
    prompt: object = cast("object", messages)
    sample = _natural(fields, "sample")
    correct = _natural(fields, "correct")
    if correct not in (0, 1):
        raise ValueError("field correct is not 0 or 1")
    thinking = _natural(fields, "thinking_tokens")
    tokens = _natural(fields, "tokens") if thinking is None else thinking
    if tokens is None:
        return None
    weights = fields.get("weights")
    weights = weights if isinstance(weights, str) and weights else None
    kind = _text(fields, "kind") if fields.get("kind") not in (None, "") else None
    return Outcome(
        texts[0], prompt, texts[1], texts[2], sample or 0, correct, tokens, weights, kind
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"field {name} is missing or not text")
    return value


def _natural(fields: Mapping[str, object], name: str) -> int | None:
    """An integer of 0 or more; None where absent or null. Raises ValueError."""
    value = fields.get(name)
    if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
        return None
    try:
        number = float(cast("str | float", value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"field {name} is not a number: {str(value)[:40]!r}") from error
    if not math.isfinite(number) or number < 0 or number != int(number):
        raise ValueError(f"field {name} is not a whole number of 0 or more: {str(value)[:40]!r}")
    return int(number)
