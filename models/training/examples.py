"""Solutions to learn from: a problem, at an effort, with its reasoning and its answer."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.training.chat import IGNORED, Chat, Encoded
from models.training.run import RunError, write_whole


@dataclass(frozen=True)
class Example:
    """One solution. `effort` is `auto` where the model is to decide by itself.

    `tokens` are those of the completion; `wrong` spans are [first, end) characters of the
    reasoning that must not be learned.
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
        """A judged generation as an example for an effort."""
        return cls(
            problem_id=outcome["problem_id"],
            prompt=outcome["prompt"],
            effort=effort,
            reasoning=(outcome["reasoning"] or "").strip(),
            response=outcome["response"].strip(),
            tokens=outcome["tokens"],
        )

    def encode(self, chat: Chat) -> Encoded:
        """Its tokens and labels."""
        return chat.encode(self.prompt, self.effort, self.reasoning, self.response, self.wrong)


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON Lines, whole or not at all; returns how many."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_whole(file, "".join(f"{line}\n" for line in lines))
    return len(lines)


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that a stage wrote.

    Raises:
        RunError: a line is broken.
    """
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise RunError(f"{file}, line {number}: {error}") from error


def write_examples(file: Path, examples: Iterable[Example]) -> int:
    """Write examples; returns how many."""
    return write_rows(file, (asdict(example) for example in examples))


def read_examples(file: Path) -> list[Example]:
    """The examples of a file.

    Raises:
        RunError: a line is no example.
    """
    try:
        return [Example(**row) for row in read_rows(file)]
    except TypeError as error:
        raise RunError(f"{file} has a line that is no example: {error}") from error


def encode_all(
    examples: Iterable[Example], chat: Chat, max_length: int, counts: Counter[str]
) -> list[Encoded]:
    """The examples' tokens; those past `max_length` are left out and counted, never cut."""
    fitting: list[Encoded] = []
    for example in examples:
        encoded = example.encode(chat)
        if len(encoded.ids) > max_length:
            counts["too_long"] += 1
            continue
        counts["masked_tokens"] += encoded.labels[encoded.prompt :].count(IGNORED)
        counts["tokens"] += len(encoded.ids)
        fitting.append(encoded)
    counts["examples"] = len(fitting)
    return fitting
