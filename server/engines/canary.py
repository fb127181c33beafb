"""The canary: proves that a tiny budget holds on a prompt that takes longer thinking.

Engines have shipped releases that accepted a budget and ignored it, or that went on counting in the
answer. The canary runs when an engine comes up and whenever it has come back: at most seven short
generations.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

from router.effort import Effort
from server.engines import chat_chunk
from server.engines.budget_support import BudgetSupport
from server.engines.continuing.chat import continued_chat
from server.engines.continuing.prefix import ended_block, without_echo
from server.engines.dialect import Dialect
from server.engines.reasoning_counter import Method
from server.engines.usage import read_usage

BUDGET = 16
"""Thinking tokens of the budget that is tried."""

_UNBOUNDED_TOKENS = 64
"""Completion tokens that show whether the prompt takes more thinking than the budget."""

_LOUD_FACTOR = 2
"""An answer so many times as long as one without thinking has thoughts in it."""

_NOT_RECOGNISED = (
    "the engine does not recognise the chat template as one of a thinking model: thoughts are sent "
    "as the answer's text, and no budget holds; use a template that writes a message's "
    "reasoning_content between <think> and </think>"
)
_CUTS_ANSWERS = (
    "the engine counts the answer's tokens as thinking: a budget changed an answer after thinking "
    "that had ended by itself"
)
_MAX_TOKENS = 256
_CONTINUED_TOKENS = 16
_CONTINUED_THOUGHTS = "I add and subtract the numbers in turn."
_COMPARED_CHARACTERS = 8
"""Of two answers; a budget of one token changes the first."""

_MAX_UNDERSHOOT = 4
_PROMPT = (
    "Ada has 34 apples. Ada buys 27 more apples. Ada loses 15 apples. Ada finds 31 apples. Ada "
    "sells 9 apples. Then Ada wins 18 apples. Ada gives away 26 apples. How many apples does Ada "
    "have now?"
)


class ProbeReply(NamedTuple):
    """A reply: its HTTP status, its body (None where that is not JSON), how two phases counted."""

    status: int
    answer: Any
    method: Method | None = None


Ask = Callable[[dict[str, Any], int | None], Awaitable[ProbeReply]]
"""Sends a chat body, and a budget to enforce in two phases or None."""


async def probe(ask: Ask, dialect: Dialect, model: str, effort: Effort) -> BudgetSupport:
    """Measure how an engine enforces budgets.

    Args:
        ask: sends a chat body to the engine.
        dialect: how the engine spells effort and budget.
        model: its name on the engine.
        effort: an effort with reasoning.

    Raises:
        EngineError: the engine did not answer.
    """
    if dialect.budget is None:
        return BudgetSupport("none", False, "this kind of engine has no thinking budget")
    if dialect.hosted:
        return BudgetSupport("native", False, "not probed, because requests cost money")
    if effort == "none":
        return BudgetSupport(
            "native", False, "not probed, because the model has no effort but none"
        )
    body = _body(dialect, model, effort, None)
    unbounded = await ask(body | {"max_tokens": _UNBOUNDED_TOKENS}, None)
    thoughts, _ = chat_chunk.reasoning(_message(unbounded.answer))
    if (
        dialect.parses_by_template
        and not thoughts
        and await _thinks_aloud(ask, dialect, model, unbounded.answer)
    ):
        return BudgetSupport("none", False, _NOT_RECOGNISED)
    support = await _enforcement(ask, dialect, model, effort, _thinking(*unbounded[:2]))
    if support.mode == "two-phase" or not thoughts:
        return support
    return await _after_thinking(ask, dialect, model, effort, support)


async def _after_thinking(
    ask: Ask, dialect: Dialect, model: str, effort: Effort, support: BudgetSupport
) -> BudgetSupport:
    """The support by what the engine does after a thought that has ended by itself.

    It may go on with the answer, and a budget that it enforces may go on counting.
    """
    body = _body(dialect, model, effort, None)
    answer = await _continuation(ask, body, dialect)
    support = replace(support, continues=bool(answer))
    if not answer or support.state != "native":
        return support
    limited = await _continuation(ask, _body(dialect, model, effort, 1), dialect)
    if limited is None or limited[:_COMPARED_CHARACTERS] == answer[:_COMPARED_CHARACTERS]:
        return support
    in_two_phases = await _two_phase(ask, body, dialect, _CUTS_ANSWERS)
    if in_two_phases.mode == "two-phase":
        return in_two_phases
    return replace(support, proven=False, detail=_CUTS_ANSWERS)


async def _thinks_aloud(ask: Ask, dialect: Dialect, model: str, unbounded: object) -> bool:
    """Whether an answer without reasoning is longer by an effort: its thoughts are in its text."""
    plain = await ask(_body(dialect, model, "none", None) | {"max_tokens": _UNBOUNDED_TOKENS}, None)
    lengths = [len(chat_chunk.text(_message(answer))) for answer in (unbounded, plain.answer)]
    return plain.status == 200 and lengths[0] > _LOUD_FACTOR * lengths[1] > 0


async def _enforcement(
    ask: Ask, dialect: Dialect, model: str, effort: Effort, unbounded_thinking: int | None
) -> BudgetSupport:
    """How a budget holds on an engine that thinks so many tokens without one."""
    status, answer, _ = await ask(_body(dialect, model, effort, BUDGET), None)
    thinking = _thinking(status, answer)
    result = f"{thinking} thinking tokens" if thinking is not None else f"HTTP {status}"
    detail = f"the engine answered a budget of {BUDGET} with {result}{_reason(answer)}"
    if unbounded_thinking is None or unbounded_thinking <= 2 * BUDGET:
        if status != 200:
            return BudgetSupport("none", False, detail)
        cause = (
            "does not report thinking tokens"
            if unbounded_thinking is None
            else "thought too little"
        )
        return BudgetSupport("native", False, f"the engine {cause} when probed without a budget")
    if thinking is not None and thinking >= BUDGET - _MAX_UNDERSHOOT:
        offset = thinking - BUDGET
        double = _body(dialect, model, effort, 2 * BUDGET)
        if offset <= 0 or await _has_offset(ask, double, offset):
            return BudgetSupport("native", True, detail, offset)
    return await _two_phase(ask, _body(dialect, model, effort, None), dialect, detail)


async def _has_offset(ask: Ask, body: dict[str, Any], offset: int) -> bool:
    """Whether twice the budget is exceeded by the same offset.

    If so, the engine cuts at the budget and counts its transition sentence on top.
    """
    thinking = _thinking(*(await ask(body, None))[:2])
    return thinking is not None and thinking - 2 * BUDGET == offset


async def _two_phase(
    ask: Ask, body: dict[str, Any], dialect: Dialect, detail: str
) -> BudgetSupport:
    """Whether the gateway can enforce in two phases what the engine does not."""
    if dialect.resume is None:
        return BudgetSupport("none", False, detail)
    support = BudgetSupport("none", False, detail + ", and two phases did not enforce it either")
    for adds_logprobs in (False, True):
        probed = {**body, "logprobs": True} if adds_logprobs else body
        reply = await ask(probed, BUDGET)
        thinking = _thinking(reply.status, reply.answer)
        if thinking is None or not 0 < thinking <= BUDGET:
            return support
        if reply.method != "estimate":
            return BudgetSupport(
                "two-phase", True, detail, adds_logprobs=adds_logprobs, continues=True
            )
        uncounted = ", and its streams do not show how many tokens they carry"
        support = BudgetSupport(
            "two-phase", False, detail + uncounted, counts=False, continues=True
        )
    return support


async def _continuation(ask: Ask, body: dict[str, Any], dialect: Dialect) -> str | None:
    """What the engine answers after a reasoning block that has ended by itself.

    Streamed, because vLLM takes a whole answer for reasoning where it has no end of the block.

    Returns:
        None where it cannot be asked; "" where it does not go on with an answer.
    """
    if dialect.resume is None:
        return None
    prefix = ended_block(_CONTINUED_THOUGHTS)
    continued = continued_chat(
        body | {"max_tokens": _CONTINUED_TOKENS, "stream": True}, dialect.resume, prefix, None
    )
    reply = await ask(continued, None)
    if reply.status != 200:
        return None
    message = _message(reply.answer)
    reasoning, _ = chat_chunk.reasoning(message)
    thinks = without_echo(reasoning, "", prefix).strip()
    return "" if thinks else without_echo("", chat_chunk.text(message), prefix).strip()


def _body(dialect: Dialect, model: str, effort: Effort, budget: int | None) -> dict[str, Any]:
    messages = [{"role": "user", "content": _PROMPT}]
    body = {"model": model, "messages": messages, "max_tokens": _MAX_TOKENS, "temperature": 0}
    dialect.apply(body, effort, budget)
    return body


def _message(answer: object) -> dict[str, Any]:
    """The message of an answer; empty where it has none."""
    if not isinstance(answer, dict):
        return {}
    choice = chat_chunk.first_choice(cast("dict[str, Any]", answer))
    return chat_chunk.part(choice or {}, "message")


def _reason(answer: object) -> str:
    """The engine's error message, if any: vLLM names the flag that it needs."""
    error = cast("dict[str, Any]", answer).get("error") if isinstance(answer, dict) else None
    message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else None
    return f": {str(message)[:200]}" if message else ""


def _thinking(status: int, answer: object) -> int | None:
    """Thinking tokens of an answer; None where it is an error or does not report them."""
    if status != 200 or not isinstance(answer, dict):
        return None
    usage = read_usage(cast("dict[str, Any]", answer))
    return usage.thinking if usage else None
