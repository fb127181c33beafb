"""The questions of a load test: conversations of problems, from a file or the demo domain."""

import gzip
import hashlib
import json
import random
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from loadtest.judge import judgeable
from loadtest.plan import PlanError, Problems

_DEMO_CONVERSATIONS = 300
_PEOPLE = ("human", "user")
_INSTRUCTORS = ("system", "developer")


@dataclass(frozen=True)
class Problem:
    """A question; `answer` is None where it is not known, or nothing that can be judged by.

    `system` is what a conversation's instructions are, with its first question.
    """

    problem_id: str
    prompt: str
    answer: str | None = None
    difficulty: float | None = None
    system: str | None = None


Conversation = tuple[Problem, ...]


def read_conversations(source: Problems, notes: list[str]) -> list[Conversation]:
    """The conversations of a plan, in their order. What is left out is told in `notes`.

    A file of fewer than are asked for is gone through again, under ids of their own.

    Raises:
        PlanError: the file cannot be read, is empty, or has something in it that is no problem.
    """
    text = _demo_problems(source) if source.file is None else _text(source.file)
    said = _said(source, text)
    found = _grouped(source, said, notes)
    n = source.n or len(found)
    if len(found) < n:
        notes.append(f"{source.file}: its {len(found)} conversations are had again, to make {n}")
    found = [_again(found[place % len(found)], place // len(found)) for place in range(n)]
    known = [one.answer for turns in found for one in turns if one.answer is not None]
    if odd := sum(not judgeable(answer) for answer in known):
        notes.append(f"{odd} of {len(known)} known answers are no numbers: not judged")
    return [tuple(_with_judgeable_answer(one) for one in turns) for turns in found]


def _with_judgeable_answer(one: Problem) -> Problem:
    return one if one.answer is None or judgeable(one.answer) else replace(one, answer=None)


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise PlanError(f"{file}: {error}") from error
    if not text.strip():
        raise PlanError(f"{file}: there are no problems")
    return text


def _said(source: Problems, text: str) -> list[Conversation]:
    """What people say, line by line of a file; lines in which nobody does are empty."""
    found: list[Conversation] = []
    names, unnamed = set[str](), Counter[str]()
    for where, row in _rows(source, text):
        try:
            system, asked = _asked(row)
            name: Any = row.get("problem_id", row.get("question_id"))
            if name is None:  # made of what is asked: other runs can be held against this one
                words = "\0".join(asked).encode(errors="surrogatepass")
                name = hashlib.sha256(words).hexdigest()[:12]
                unnamed[name] += 1
                name += f"#{unnamed[name]}" if unnamed[name] > 1 else ""
            name = str(name)
            turns = _turns(row, name, system, asked)
        except (KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"{where}: {error!r} in what should be a problem") from error
        found.append(turns)
        if not turns:
            continue
        if name in names:
            raise PlanError(f"{where}: {name} is there already")
        names.add(name)
    return found


def _rows(source: Problems, text: str) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        try:
            rows = cast("list[Any]", json.loads(text))
        except ValueError as error:
            raise PlanError(f"{source.file}: {error}") from error
        yield from ((f"{source.file}, conversation {place}", row) for place, row in enumerate(rows))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source.file}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PlanError(f"{where}: {error}") from error
        yield where, row


def _turns(
    row: Mapping[str, Any], name: str, system: str | None, asked: Sequence[str]
) -> Conversation:
    answer, difficulty = row.get("answer"), row.get("difficulty")
    several = len(asked) > 1
    return tuple(
        Problem(
            f"{name}.{turn}" if several else name,
            prompt,
            None if several or answer is None else str(answer),
            difficulty if isinstance(difficulty, int | float) else None,
            None if turn else system,
        )
        for turn, prompt in enumerate(asked)
    )


def _asked(row: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """A row's instructions, where it has any, and its questions."""
    spoken = _spoken(row)
    systems = [_text_of(what) for who, what in spoken if who in _INSTRUCTORS]
    return "\n\n".join(systems) or None, [_text_of(what) for who, what in spoken if who in _PEOPLE]


def _spoken(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Who says what: ShareGPT's, OpenAI's, MT-bench's (its spellings), or a prompt."""
    if "conversations" in row:
        return [(one["from"], one["value"]) for one in row["conversations"]]
    told = (row[name] for name in ("prompt", "turns") if row.get(name) is not None)
    turns: Any = next(told, None)
    if turns is None:
        turns = row["messages"]
    if isinstance(turns, str):
        turns = [turns]
    if not isinstance(turns, list):
        raise TypeError(f"{turns!r:.50} is neither text nor a list")
    said = [*cast("list[Any]", turns), *filter(None, [row.get("turn2")])]
    return [
        ("user", one) if isinstance(one, str) else (one.get("role", "user"), one["content"])
        for one in said
    ]


def _text_of(said: Any) -> str:
    """Text, or the texts of OpenAI's content parts; pictures are left out."""
    if isinstance(said, str):
        return said
    return "".join(part["text"] for part in said if part["type"] == "text")


def _grouped(
    source: Problems, said: Sequence[Conversation], notes: list[str]
) -> list[Conversation]:
    """Conversations of at most `turns`: a line's own, or of problems that follow each other."""
    spoken = [turns for turns in said if turns]
    if not spoken:
        raise PlanError(f"{source.file}: nobody says anything in it")
    if len(spoken) < len(said):
        notes.append(f"{source.file}: in {len(said) - len(spoken)} conversations nobody asks")
    if len(spoken) < len(said) or any(len(turns) > 1 for turns in spoken):
        return [turns[: source.turns] for turns in spoken]
    if len(spoken) < source.turns:
        raise PlanError(f"{source.file}: {len(spoken)} problems are no {source.turns} turns")
    ends = range(source.turns, len(spoken) + 1, source.turns)
    groups = ([one for (one,) in spoken[end - source.turns : end]] for end in ends)
    return [(first, *(replace(one, system=None) for one in rest)) for first, *rest in groups]


def _again(turns: Conversation, time: int) -> Conversation:
    if not time:
        return turns
    return tuple(replace(one, problem_id=f"{one.problem_id}~{time + 1}") for one in turns)


def _demo_problems(source: Problems) -> str:
    """As JSON Lines; of a mix of difficulties, in random order."""
    n = (source.n or _DEMO_CONVERSATIONS) * source.turns
    if isinstance(source.steps, str):
        return "".join(_demo_lines(n, source.seed, source.steps))
    whole, lines, wanted = sum(source.steps.values()), dict[str, None](), 0.0
    for steps, share in source.steps.items():
        wanted += n * share / whole
        fresh = _demo_lines(n + len(lines), source.seed, steps)  # ranges may overlap
        count = round(wanted) - len(lines)
        lines |= dict.fromkeys([line for line in fresh if line not in lines][:count])
    mixed = list(lines)
    random.Random(f"mix:{source.seed}").shuffle(mixed)
    return "".join(mixed)


def _demo_lines(n: int, seed: int, steps: str) -> list[str]:
    words = ["--n", str(n), "--seed", str(seed), "--steps", steps]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "tops", "problems", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PlanError(f"problems: {done.stderr.strip()}")
    return done.stdout.splitlines(keepends=True)
