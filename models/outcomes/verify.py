"""Judges a model's visible answer against the gold answer.

Numbers are compared by value, choices by letter, and anything else as mathematics by math-verify,
in a worker process with a time-out: an answer like 9^{9^{9^9}} must not block the run. A user's
function can judge instead.
"""

import asyncio
import importlib
import importlib.util
import multiprocessing
import os
import re
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from router.final_number import final_number

_ENDING_NUMBER = re.compile(r"[\d.,]*\d$")
_LONE_NUMBER = re.compile(
    r"\W*[-\u2212]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)(?:\s*[A-Za-z%]*|\W*)"
)
_LETTER = re.compile(r"[A-J]")
_LONE_LETTER = r"[A-HJ](?![A-Za-z])|I(?!\s+[a-z]|[A-Za-z'])"
"""A choice that is not part of a word, nor the pronoun I."""

_CHOICES = (
    re.compile(rf"(?i:answer)(?:\s+is)?(?:\s+(?i:option|choice))?\W{{0,8}}({_LONE_LETTER})"),
    re.compile(r"\*\*\(?([A-J])\)?[.:]?(?:\s[^*]*)?\*\*"),
    re.compile(rf"(?i:option|choice|choose|pick)(?:\s+is)?\W{{0,8}}({_LONE_LETTER})"),
    re.compile(r"^\W*([A-J])\W*(?:$|\n)", re.MULTILINE),
)
_STYLE = re.compile(r"\\(?:text|math)[a-z]*")
_PARSED_CHARACTERS = 2_000
_JUDGE_SECONDS = 10.0
_INSTALL = "pip install 'tops-server[math]'"


def unjudgeable(gold: str) -> str | None:
    """Why a gold answer cannot be judged with the installed packages, or None."""
    if not gold.strip():
        return "the answer is empty"
    if is_plain(gold) or _has_math_verify():
        return None
    return f"judging {gold[:40]!r}, neither a number nor a letter, needs math-verify: {_INSTALL}"


def _has_math_verify() -> bool:
    return importlib.util.find_spec("math_verify") is not None


def is_plain(gold: str) -> bool:
    """Whether a gold answer is a number or a letter, so that math-verify is not needed."""
    return bool(_LONE_NUMBER.fullmatch(gold.strip()) or _LETTER.fullmatch(gold.strip()))


def is_correct(answer: str, gold: str, truncated: bool = False) -> bool:
    r"""Whether an answer gives the gold number or letter; `Judge` handles other gold answers.

    The answer is the content of the last \boxed{}, else the last number, or the letter that is
    named as the answer. A number at the end of a `truncated` answer does not count, since digits
    may be missing.
    """
    boxed = last_boxed(answer)
    if _LETTER.fullmatch(gold.strip()):
        return _letter(answer if boxed is None else f"answer: {_bare(boxed)}") == gold.strip()
    if boxed is not None:
        number = final_number(boxed.replace("{,}", ","))
    else:
        number = final_number(_ENDING_NUMBER.sub("", answer) if truncated else answer)
    return number is not None and number == final_number(gold)


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete \boxed{...} of a text, or None."""
    start = text.rfind("\\boxed{")
    while start >= 0:
        depth, brace = 0, start + len("\\boxed")
        for position in range(brace, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[brace + 1 : position]
        start = text.rfind("\\boxed{", 0, start)
    return None


def _letter(answer: str) -> str | None:
    """The last letter that matches the first pattern of `_CHOICES` with a match, clearest first."""
    for pattern in _CHOICES:
        if letters := pattern.findall(answer):
            return letters[-1]
    return None


def _bare(boxed: str) -> str:
    return _STYLE.sub("", boxed).strip("{}() .")


def same_expression(answer: str, gold: str) -> bool:
    """Whether math-verify finds an answer equal to the gold one; this may never return."""
    library: Any = importlib.import_module("math_verify")
    boxed = last_boxed(answer)
    if boxed is not None and _without_spaces(boxed) == _without_spaces(gold):
        return True
    expression = library.parse(answer[-_PARSED_CHARACTERS:])
    return bool(library.verify(library.parse(f"${gold}$"), expression))  # not symmetric


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def same_text(answer: str, gold: str) -> bool:
    """Whether an answer, or its last box, equals the gold text apart from case and spaces."""
    boxed = last_boxed(answer)
    if boxed is not None:
        answer, gold = _bare(boxed), _bare(gold)
    return " ".join(answer.casefold().split()) == " ".join(gold.casefold().split())


class JudgeError(Exception):
    """The way of judging cannot be used; the message says why."""


def _load_function(name: str) -> Callable[[str, str], object]:
    """A user's `module:function`; the module may be in the working folder."""
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        loaded = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise JudgeError(f"{name} cannot be loaded: {error}") from error
    if not callable(loaded):
        raise JudgeError(f"{name} is not a function")
    return loaded


def call_function(name: str, answer: str, gold: str) -> bool:
    """The verdict of a user's `module:function` on (answer, gold)."""
    return bool(_load_function(name)(answer, gold))


WAYS = ("auto", "math", "number", "choice", "exact")
"""How answers may be judged, besides a user's `module:function`."""


class Judge:
    """Judges answers; math-verify and a user's function run in worker processes, with a time-out.

    Args:
        seconds: the time-out for an answer; one that takes longer is wrong.
        by: one of `WAYS`, of which `auto` depends on the gold answer, or a user's
            `module:function`, called with the answer's text and the gold answer.
        processes: the number of workers.

    Raises:
        JudgeError: there is no such way or function.
    """

    def __init__(
        self, seconds: float = _JUDGE_SECONDS, by: str = "auto", processes: int = 1
    ) -> None:
        self._seconds = seconds
        self._by = by
        self._processes = processes
        self._pool: Any = None
        if ":" in by:
            _load_function(by)
        elif by not in WAYS:
            raise JudgeError(
                f"answers cannot be judged by {by}: {', '.join(WAYS)}, module:function"
            )

    def __enter__(self) -> "Judge":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()

    def unjudgeable(self, gold: str) -> str | None:
        """Why this judge cannot judge a gold answer, or None."""
        if last_boxed(f"\\boxed{{{gold}}}") != gold:
            return "the answer's braces do not match"
        if self._by == "auto" or not gold.strip():
            return unjudgeable(gold)
        if self._by == "number" and final_number(gold) is None:
            return f"{gold[:40]!r} is not a number"
        if self._by == "choice" and not _LETTER.fullmatch(gold.strip()):
            return f"{gold[:40]!r} is not a letter"
        if self._by == "math" and not _has_math_verify():
            return f"judging needs math-verify: {_INSTALL}"
        return None

    async def is_correct(self, answer: str, gold: str, truncated: bool = False) -> bool:
        """Whether an answer is correct; False on a time-out.

        Raises:
            JudgeError: a user's function failed.
        """
        if ":" in self._by:
            return await self._call_user(answer, gold)
        verdict = self._judge_directly(answer, gold, truncated)
        if verdict is not None:
            return verdict
        try:
            return await self._run_in_worker(same_expression, answer, gold)
        except (TimeoutError, ArithmeticError, ValueError, TypeError, RecursionError):
            return False

    def _judge_directly(self, answer: str, gold: str, truncated: bool) -> bool | None:
        """Whether an answer is correct; None where math-verify must decide."""
        if self._by == "exact":
            return same_text(answer, gold)
        boxed = last_boxed(answer)
        readable = boxed is None or is_plain(boxed) or not _has_math_verify()
        by_value = self._by == "auto" and is_plain(gold) and readable
        by_letter = self._by == "auto" and _LETTER.fullmatch(gold.strip())
        if by_value or by_letter or self._by in ("number", "choice"):
            return is_correct(answer, gold, truncated)
        return False if truncated and boxed is None else None

    async def _call_user(self, answer: str, gold: str) -> bool:
        try:
            return await self._run_in_worker(call_function, self._by, answer, gold)
        except TimeoutError:
            return False
        except Exception as error:
            raise JudgeError(f"{self._by} failed: {type(error).__name__} {error}") from error

    async def _run_in_worker(self, function: Callable[..., bool], *arguments: str) -> bool:
        if self._pool is None:
            pebble: Any = importlib.import_module("pebble")
            self._pool = pebble.ProcessPool(
                self._processes, context=multiprocessing.get_context("spawn")
            )
        future = self._pool.schedule(function, args=list(arguments), timeout=self._seconds)
        return await asyncio.wrap_future(future)
