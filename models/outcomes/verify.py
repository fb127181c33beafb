"""Judges a model's visible answer against the gold answer.

`router.answers` reads which answer a response commits to, and compares numbers, letters, words,
dates, tuples and intervals. Expressions are compared by math-verify, in a worker process with a
time-out: an answer like 9^{9^{9^9}} must not block the run. A user's function can judge instead.
A problem's own check comes before all of these: reasoning-gym's scorer, tests of a program, or the
texts of choices.
"""

import asyncio
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from child_python import process_context
from models.outcomes.check import Check, Choices, GymItem, ProgramTests
from models.outcomes.sandbox_judge import SandboxJudge, unjudgeable_check
from models.sandbox.sandbox import SandboxError
from router.answers.choice import gold_letters
from router.answers.expression import stated_expression, without_name
from router.answers.phrase import normal
from router.answers.response import boxes
from router.answers.verdict import NO_CHOICES, gold_number, is_correct, needs_algebra, verdict

__all__ = ["Judge", "JudgeError", "is_correct", "is_plain", "last_boxed", "unjudgeable"]

_PARSED_CHARACTERS = 2_000
_JUDGE_SECONDS = 10.0
_NEVER = 86_400
"""Seconds of math-verify's own time-outs, which depend on the load; a worker's ends it before."""

_INSTALL = "pip install 'tops-server[math]'"


def unjudgeable(gold: str, check: Check | None = None, run_code: bool = False) -> str | None:
    """Why a gold answer cannot be judged with the installed packages, or None.

    Args:
        gold: the answer.
        check: of the problem, where it has its own.
        run_code: whether programs that a model has written may be run.
    """
    if isinstance(check, GymItem | ProgramTests):
        return unjudgeable_check(check, run_code)
    if not gold.strip():
        return "the answer is empty"
    if is_plain(gold) or _has_math_verify():
        return None
    return f"judging {gold[:40]!r}, an expression, needs math-verify: {_INSTALL}"


def _has_math_verify() -> bool:
    return importlib.util.find_spec("math_verify") is not None


def is_plain(gold: str) -> bool:
    """Whether a gold answer can be judged without math-verify."""
    return not needs_algebra(gold)


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete \boxed{...} of a text, or None."""
    contents = [content for _, _, content in boxes(text)]
    return contents[-1] if contents else None


def same_expression(expression: str, gold: str) -> bool:
    """Whether math-verify calls an expression equal to the gold one; this may never return."""
    library: Any = importlib.import_module("math_verify")
    expression, gold = without_name(expression, gold)
    if "\\pm" in expression and "\\pm" in gold:  # which math-verify does not compare
        return all(
            same_expression(expression.replace("\\pm", sign), gold.replace("\\pm", sign))
            for sign in "+-"
        )
    parsed, right = _parse(expression[-_PARSED_CHARACTERS:]), _parse(gold)
    if "%" not in expression + gold and _differ(parsed, right):
        return False
    return bool(library.verify(right, parsed, timeout_seconds=_NEVER))  # not symmetric


@functools.lru_cache(maxsize=256)
def _parse(expression: str) -> list[Any]:
    """What math-verify reads: SymPy's objects, and the text."""
    library: Any = importlib.import_module("math_verify")
    return library.parse(f"${expression}$", parsing_timeout=_NEVER)


def _differ(parsed: list[Any], right: list[Any]) -> bool:
    """Whether two terms differ at some point by far, which is seen sooner than by simplifying."""
    sympy: Any = importlib.import_module("sympy")
    terms = [items[0] for items in (parsed, right) if items and isinstance(items[0], sympy.Expr)]
    if len(terms) < 2:
        return False
    symbols = sorted(terms[0].free_symbols | terms[1].free_symbols, key=str)
    point = {symbol: sympy.Rational(7 + 4 * n, 5) for n, symbol in enumerate(symbols)}
    value, expected = (term.evalf(10, subs=point) for term in terms)
    if not (value.is_Float or value.is_Integer) or not (expected.is_Float or expected.is_Integer):
        return False
    return bool(abs(value - expected) > 1e-3 * (1 + abs(expected)))


def same_text(answer: str, gold: str) -> bool:
    """Whether an answer, or its last box, equals the gold text apart from case and spaces."""
    boxed = last_boxed(answer)
    return normal(answer if boxed is None else boxed) == normal(gold)


class JudgeError(Exception):
    """The way of judging cannot be used; the message says why."""


def _load_function(name: str) -> Callable[[str, str], object]:
    """A user's `module:function`; the module may be in the working folder."""
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        loaded = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise JudgeError(f"{name} cannot be loaded: {type(error).__name__} {error}") from error
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
        run_code: whether programs that a model has written may be run, in a sandbox.

    Raises:
        JudgeError: there is no such way or function.
    """

    def __init__(
        self,
        seconds: float = _JUDGE_SECONDS,
        by: str = "auto",
        processes: int = 1,
        run_code: bool = False,
    ) -> None:
        self._seconds = seconds
        self._by = by
        self._processes = processes
        self._pool: Any = None
        self._run_code = run_code
        self._sandbox_judge = SandboxJudge(seconds, processes)
        if ":" in by:
            _load_function(by)
        elif by not in WAYS:
            raise JudgeError(
                f"answers cannot be judged by {by}: {', '.join(WAYS)}, module:function"
            )

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
        self._sandbox_judge.close()

    def unjudgeable(self, gold: str, check: Check | None = None) -> str | None:
        """Why this judge cannot judge a gold answer, or None."""
        if isinstance(check, GymItem | ProgramTests):
            return unjudgeable_check(check, self._run_code)
        if last_boxed(f"\\boxed{{{gold}}}") != gold:
            return "the answer's braces do not match"
        return self._unjudgeable_text(gold)

    def _unjudgeable_text(self, gold: str) -> str | None:
        if self._by == "auto" or not gold.strip():
            return unjudgeable(gold)
        if self._by == "number" and gold_number(gold) is None:
            return f"{gold[:40]!r} is not a number"
        if self._by == "choice" and gold_letters(gold) is None:
            return f"{gold[:40]!r} is not a letter"
        if self._by == "math" and not _has_math_verify():
            return f"judging needs math-verify: {_INSTALL}"
        return None

    async def is_correct(
        self,
        answer: str,
        gold: str,
        truncated: bool = False,
        check: Check | None = None,
        question: str = "",
    ) -> bool:
        """Whether an answer to a question is correct; False on a time-out.

        Raises:
            JudgeError: a user's function failed, or the sandbox does not run.
        """
        if isinstance(check, GymItem | ProgramTests):
            return await self._check(answer, check, truncated)
        if ":" in self._by:
            return await self._call_user(answer, gold)
        if self._by == "exact":
            return same_text(answer, gold)
        return await self._judge_text(answer, gold, truncated, check, question)

    async def _judge_text(
        self, answer: str, gold: str, truncated: bool, check: Choices | None, question: str
    ) -> bool:
        choices = check.texts if check else NO_CHOICES
        right = verdict(answer, gold, truncated, choices, question)
        if right or self._by in ("number", "choice"):
            return right is True
        expression = stated_expression(answer, gold, truncated)
        if expression is None or not _has_math_verify():
            return False
        try:
            return await self._run_in_worker(same_expression, expression, gold)
        except (TimeoutError, ArithmeticError, ValueError, TypeError, RecursionError):
            return False

    async def _check(self, answer: str, check: GymItem | ProgramTests, truncated: bool) -> bool:
        if isinstance(check, ProgramTests) and not self._run_code:
            raise JudgeError("a program may not be run: pass --run-code")
        try:
            return await self._sandbox_judge.is_correct(answer, check, truncated)
        except SandboxError as error:
            raise JudgeError(str(error)) from error

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
            self._pool = pebble.ProcessPool(self._processes, context=process_context("math_verify"))
        future = self._pool.schedule(function, args=list(arguments), timeout=self._seconds)
        return await asyncio.wrap_future(future)
