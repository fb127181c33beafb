"""Judge a model's visible answer against the gold one.

Numbers by value, choices by their letter, anything else as mathematics by math-verify, in a
process of its own: an answer like 9^{9^{9^9}} must not hang the run. A user's own function may
judge instead.
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

_CUT = re.compile(r"[\d.,]*\d$")
_LONE_NUMBER = re.compile(
    r"\W*[-\u2212]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)(?:\s*[A-Za-z%]*|\W*)"
)
_LETTER = re.compile(r"[A-J]")
_ONE = r"[A-HJ](?![A-Za-z])|I(?!\s+[a-z]|[A-Za-z'])"
"""A letter by itself, and not the word I."""

_CHOICES = (
    re.compile(rf"(?i:answer)(?:\s+is)?(?:\s+(?i:option|choice))?\W{{0,8}}({_ONE})"),
    re.compile(r"\*\*\(?([A-J])\)?[.:]?(?:\s[^*]*)?\*\*"),
    re.compile(rf"(?i:option|choice|choose|pick)(?:\s+is)?\W{{0,8}}({_ONE})"),
    re.compile(r"^\W*([A-J])\W*(?:$|\n)", re.MULTILINE),
)
_STYLE = re.compile(r"\\(?:text|math)[a-z]*")
_LONGEST = 2_000
_SECONDS = 10.0
_INSTALL = "pip install 'tops-server[math]'"


def unjudgeable(gold: str) -> str | None:
    """Why an answer cannot be judged here, if so."""
    if not gold.strip():
        return "the answer is empty"
    if is_plain(gold) or _can_work_out():
        return None
    return f"judging {gold[:40]!r}, neither a number nor a letter, needs math-verify: {_INSTALL}"


def _can_work_out() -> bool:
    return importlib.util.find_spec("math_verify") is not None


def is_plain(gold: str) -> bool:
    """Whether a gold answer is a number or a letter, so that nothing needs to be worked out."""
    return bool(_LONE_NUMBER.fullmatch(gold.strip()) or _LETTER.fullmatch(gold.strip()))


def is_correct(answer: str, gold: str, truncated: bool = False) -> bool:
    r"""Whether an answer gives the gold number or letter; see `Judge` for any other gold.

    What the last \boxed{} holds is the answer, where there is one; else the last number, or the
    letter that is named as the answer. A number that ends a `truncated` answer is not read: more
    digits may have been to come.
    """
    boxed = last_boxed(answer)
    if _LETTER.fullmatch(gold.strip()):
        return _letter(answer if boxed is None else f"answer: {_bare(boxed)}") == gold.strip()
    if boxed is not None:
        given = final_number(boxed.replace("{,}", ","))
    else:
        given = final_number(_CUT.sub("", answer) if truncated else answer)
    return given is not None and given == final_number(gold)


def last_boxed(text: str) -> str | None:
    r"""What the last complete \boxed{...} of a text holds."""
    start = text.rfind("\\boxed{")
    while start >= 0:
        depth, begin = 0, start + len("\\boxed")
        for place in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[begin + 1 : place]
        start = text.rfind("\\boxed{", 0, start)
    return None


def _letter(answer: str) -> str | None:
    """The letter that an answer names last, by the clearest way of naming one that it uses."""
    for way in _CHOICES:
        if found := way.findall(answer):
            return found[-1]
    return None


def _bare(boxed: str) -> str:
    return _STYLE.sub("", boxed).strip("{}() .")


def same_expression(answer: str, gold: str) -> bool:
    """Whether an answer is mathematically the gold one, by math-verify. It may take for ever."""
    library: Any = importlib.import_module("math_verify")
    boxed = last_boxed(answer)
    if boxed is not None and _squeezed(boxed) == _squeezed(gold):
        return True
    given = library.parse(answer[-_LONGEST:])
    return bool(library.verify(library.parse(f"${gold}$"), given))  # not symmetric: gold first


def _squeezed(text: str) -> str:
    return "".join(text.split())


def same_text(answer: str, gold: str) -> bool:
    """Whether an answer, or what its last box holds, is the gold text but for case and spaces."""
    boxed = last_boxed(answer)
    if boxed is not None:
        answer, gold = _bare(boxed), _bare(gold)
    return " ".join(answer.casefold().split()) == " ".join(gold.casefold().split())


class JudgeError(Exception):
    """A user's judge cannot be used; the message says why."""


def _loaded(name: str) -> Callable[[str, str], object]:
    """A user's `module:function`; modules of the working folder are found."""
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise JudgeError(f"{name} cannot be loaded: {error}") from error
    if not callable(found):
        raise JudgeError(f"{name} is no function")
    return found


def called(name: str, answer: str, gold: str) -> bool:
    """What a user's `module:function` says to (answer, gold)."""
    return bool(_loaded(name)(answer, gold))


WAYS = ("auto", "math", "number", "choice", "exact")
"""How answers may be judged, besides a user's `module:function`."""


class Judge:
    """Judges answers; what must be worked out goes to worker processes, with a time-out.

    Args:
        seconds: the most that one answer may take; one that takes longer is wrong.
        by: `auto` goes by the gold answer; one of `WAYS`, or a user's `module:function`, which gets
            the answer's text and the gold one.
        processes: how many workers.

    Raises:
        JudgeError: there is no such way or function.
    """

    def __init__(self, seconds: float = _SECONDS, by: str = "auto", processes: int = 1) -> None:
        self._seconds = seconds
        self._by = by
        self._processes = processes
        self._pool: Any = None
        if ":" in by:
            _loaded(by)
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
        at: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()

    def unjudgeable(self, gold: str) -> str | None:
        """Why an answer cannot be judged so, if so."""
        if last_boxed(f"\\boxed{{{gold}}}") != gold:
            return "the answer's braces do not match"
        if self._by == "auto" or not gold.strip():
            return unjudgeable(gold)
        if self._by == "number" and final_number(gold) is None:
            return f"{gold[:40]!r} is no number"
        if self._by == "choice" and not _LETTER.fullmatch(gold.strip()):
            return f"{gold[:40]!r} is no letter"
        if self._by == "math" and not _can_work_out():
            return f"judging needs math-verify: {_INSTALL}"
        return None

    async def is_correct(self, answer: str, gold: str, truncated: bool = False) -> bool:
        """Whether an answer is right. One that takes too long to work out is not.

        Raises:
            JudgeError: a user's function failed.
        """
        if ":" in self._by:
            return await self._by_user(answer, gold)
        at_once = self._at_once(answer, gold, truncated)
        if at_once is not None:
            return at_once
        try:
            return await self._work(same_expression, answer, gold)
        except (TimeoutError, ArithmeticError, ValueError, TypeError, RecursionError):
            return False

    def _at_once(self, answer: str, gold: str, truncated: bool) -> bool | None:
        """Whether an answer is right, where nothing needs to be worked out to tell."""
        if self._by == "exact":
            return same_text(answer, gold)
        boxed = last_boxed(answer)
        readable = boxed is None or is_plain(boxed) or not _can_work_out()
        by_value = self._by == "auto" and is_plain(gold) and readable
        by_letter = self._by == "auto" and _LETTER.fullmatch(gold.strip())
        if by_value or by_letter or self._by in ("number", "choice"):
            return is_correct(answer, gold, truncated)
        return False if truncated and boxed is None else None

    async def _by_user(self, answer: str, gold: str) -> bool:
        try:
            return await self._work(called, self._by, answer, gold)
        except TimeoutError:
            return False
        except Exception as error:
            raise JudgeError(f"{self._by} failed: {type(error).__name__} {error}") from error

    async def _work(self, function: Callable[..., bool], *words: str) -> bool:
        if self._pool is None:
            pebble: Any = importlib.import_module("pebble")
            self._pool = pebble.ProcessPool(
                self._processes, context=multiprocessing.get_context("spawn")
            )
        future = self._pool.schedule(function, args=list(words), timeout=self._seconds)
        return await asyncio.wrap_future(future)
