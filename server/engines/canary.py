"""The canary: a tiny budget must bind on a prompt that would be thought about for longer.

Engines have shipped releases that took a budget and ignored it. Asked when an engine comes up, and
again whenever it came back: four short generations at most.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from router.effort import Effort
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import Dialect
from server.engines.usage import read_usage

BUDGET = 16
_FREE_TOKENS = 64
"""Completion tokens that show whether the prompt is thought about for longer than the budget."""

_ANSWER_TOKENS = 256
_LARGEST_SLACK = 4
_PROMPT = (
    "Ada has 34 apples. Ada buys 27 more apples. Ada loses 15 apples. Ada finds 31 apples. Ada "
    "sells 9 apples. Then Ada wins 18 apples. Ada gives away 26 apples. How many apples does Ada "
    "have now?"
)

Ask = Callable[[dict[str, Any], int | None], Awaitable[tuple[int, Any]]]
"""Sends a chat body, with a budget to be held in two phases or None: the status and the answer."""


async def prove(ask: Ask, dialect: Dialect, model: str, effort: Effort) -> BudgetSupport:
    """How budgets bind on an engine.

    Args:
        ask: reaches the engine.
        dialect: the engine's.
        model: its name there.
        effort: one at which it thinks.

    Raises:
        EngineError: it did not answer.
    """
    if dialect.budget is None:
        return BudgetSupport("none", False, "this kind of engine has no thinking budget")
    if dialect.hosted:
        return BudgetSupport("native", False, "not probed, since asking costs money")
    free = _body(dialect, model, effort, None) | {"max_tokens": _FREE_TOKENS}
    longer = _thinking(*await ask(free, None))
    status, answer = await ask(_body(dialect, model, effort, BUDGET), None)
    thinking = _thinking(status, answer)
    seen = f"{thinking} thinking tokens" if thinking is not None else f"HTTP {status}"
    seen = f"the engine answered a budget of {BUDGET} with {seen}{_reason(answer)}"
    if longer is None or longer <= 2 * BUDGET:
        if status != 200:
            return BudgetSupport("none", False, seen)
        told = "does not report thinking tokens" if longer is None else "thought too little"
        return BudgetSupport("native", False, f"the engine {told} when probed without a budget")
    if thinking is not None and thinking >= BUDGET - _LARGEST_SLACK:
        offset = thinking - BUDGET
        if offset <= 0 or await _cuts(ask, _body(dialect, model, effort, 2 * BUDGET), offset):
            return BudgetSupport("native", True, seen, offset)
    return await _two_phase(ask, _body(dialect, model, effort, None), dialect, seen)


async def _cuts(ask: Ask, body: dict[str, Any], offset: int) -> bool:
    """Whether twice the budget ends as far beyond it: so it is cut, and a sentence comes on top."""
    thinking = _thinking(*await ask(body, None))
    return thinking is not None and thinking - 2 * BUDGET == offset


async def _two_phase(ask: Ask, body: dict[str, Any], dialect: Dialect, seen: str) -> BudgetSupport:
    """Whether the gateway can hold what the engine does not."""
    if dialect.resume is not None:
        thinking = _thinking(*await ask(body, BUDGET))
        if thinking is not None and 0 < thinking <= BUDGET:
            return BudgetSupport("two-phase", True, seen)
        seen += ", and two phases did not hold it either"
    return BudgetSupport("none", False, seen)


def _body(dialect: Dialect, model: str, effort: Effort, budget: int | None) -> dict[str, Any]:
    messages = [{"role": "user", "content": _PROMPT}]
    body = {"model": model, "messages": messages, "max_tokens": _ANSWER_TOKENS, "temperature": 0}
    dialect.apply(body, effort, budget)
    return body


def _reason(answer: object) -> str:
    """What the engine says of a refusal: vLLM names the flag that it lacks."""
    error = cast("dict[str, Any]", answer).get("error") if isinstance(answer, dict) else None
    message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else None
    return f": {str(message)[:200]}" if message else ""


def _thinking(status: int, answer: object) -> int | None:
    if status != 200 or not isinstance(answer, dict):
        return None
    usage = read_usage(cast("dict[str, Any]", answer))
    return usage.thinking if usage else None
