"""Training examples: a problem at an effort, with its reasoning and its answer."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.training.chat import IGNORED, Chat, Encoded
from models.training.run import RunError, write_whole
from models.training.template_check import CLOSE, OPEN
from router.json_text import parse_json


@dataclass(frozen=True)
class Example:
    """One solution; `effort` is `auto` where the model learns to choose the effort itself.

    `tokens` counts the completion. `wrong` has [start, end) character spans of the reasoning that
    carry no loss.
    """

    problem_id: str
    prompt: str
    effort: str
    reasoning: str
    response: str
    tokens: int
    wrong: list[list[int]] = field(default_factory=list[list[int]])

    @classmethod
    def of(cls, outcome: Mapping[str, Any], effort: str) -> "Example":
        """An example for `effort` from a row of the outcome contract that keeps its response."""
        return cls(
            problem_id=outcome["problem_id"],
            prompt=outcome["prompt"],
            effort=effort,
            reasoning=(outcome["reasoning"] or "").strip(),
            response=outcome["response"].strip(),
            tokens=outcome["tokens"],
        )

    def encode(self, chat: Chat) -> Encoded:
        return chat.encode(self.prompt, self.effort, self.reasoning, self.response, self.wrong)


def is_whole(outcome: Mapping[str, Any]) -> bool:
    """Whether a generation can be learned: finished, answered, in one reasoning block at most."""
    reasoning, response = outcome["reasoning"] or "", outcome["response"] or ""
    has_tags = any(tag in text for tag in (OPEN, CLOSE) for text in (reasoning, response))
    return not outcome["truncated"] and bool(response.strip()) and not has_tags


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON Lines atomically; returns the number of rows."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_whole(file, "".join(f"{line}\n" for line in lines))
    return len(lines)


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file.

    Raises:
        RunError: a line is not JSON.
    """
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield parse_json(line)
            except ValueError as error:
                raise RunError(f"{file}, line {number}: {error}") from error


def write_examples(file: Path, examples: Iterable[Example]) -> int:
    return write_rows(file, (asdict(example) for example in examples))


def read_examples(file: Path) -> list[Example]:
    """The examples of a JSON Lines file.

    Raises:
        RunError: a line lacks a field of `Example` or has another one.
    """
    try:
        return [Example(**row) for row in read_rows(file)]
    except TypeError as error:
        raise RunError(f"{file} has a line that is not an example: {error}") from error


def encode_all(
    examples: Iterable[Example], chat: Chat, max_length: int, counts: Counter[str]
) -> list[tuple[Example, Encoded]]:
    """The examples with their tokens; those longer than `max_length` are counted and left out."""
    samples: list[tuple[Example, Encoded]] = []
    for example in examples:
        encoded = example.encode(chat)
        if len(encoded.ids) > max_length:
            counts["too_long"] += 1
            continue
        counts["masked_tokens"] += encoded.labels[encoded.prompt :].count(IGNORED)
        counts["tokens"] += len(encoded.ids)
        samples.append((example, encoded))
    counts["examples"] = len(samples)
    return samples
