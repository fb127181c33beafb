"""The canary against engines that hold budgets or do not, scripted: no real one does all this."""

import asyncio
from typing import Any

import pytest

from server.engines.budget_support import BudgetSupport
from server.engines.canary import BUDGET, probe
from server.engines.dialect import DIALECTS, Name


class Scripted:
    """An engine that thinks `free` tokens, and ends a budget as its kind says."""

    def __init__(self, kind: str, free: int = 200) -> None:
        self.kind = kind
        self.free = free
        self.asked = 0

    async def ask(self, body: dict[str, Any], budget: int | None) -> tuple[int, Any]:
        self.asked += 1
        told = body.get("thinking_token_budget")
        thinking = min(self.free, body["max_tokens"])
        if budget is not None:
            thinking = self.free if self.kind == "ignores all" else min(thinking, budget)
        elif told is not None:
            if self.kind.startswith("refuses"):
                return 400, None if "html" in self.kind else {"error": {"message": "set --this"}}
            thinking = self._held(told, thinking)
        if "no usage" in self.kind:
            return 200, {"choices": []}
        details = {"completion_tokens_details": {"reasoning_tokens": thinking}}
        return 200, {"usage": {"prompt_tokens": 5, "completion_tokens": 300, **details}}

    def _held(self, told: int, thinking: int) -> int:
        ends = {"holds": told, "one short": told - 1, "sentence on top": told + 12}
        if self.kind == "random":
            return told + 7 * self.asked
        return min(thinking, ends.get(self.kind, thinking))


def proven(kind: str, free: int = 200, name: Name = "vllm") -> BudgetSupport:
    engine = Scripted(kind, free)
    binding = asyncio.run(probe(engine.ask, DIALECTS[name], "m", "high"))
    assert engine.asked <= 4
    return binding


@pytest.mark.parametrize(
    ("kind", "how", "sure", "offset"),
    [
        ("holds", "native", True, 0),
        ("one short", "native", True, -1),
        ("sentence on top", "native", True, 12),
        ("ignores", "two-phase", True, 0),
        ("random", "two-phase", True, 0),
        ("refuses", "two-phase", True, 0),
        ("refuses, html", "two-phase", True, 0),
        ("ignores all", "none", False, 0),
        ("no usage", "native", False, 0),
        ("refuses, no usage", "none", False, 0),
    ],
)
def test_what_the_canary_concludes(kind: str, how: str, sure: bool, offset: int) -> None:
    binding = proven(kind)
    assert (binding.mode, binding.proven, binding.offset) == (how, sure, offset)
    assert binding.detail


def test_an_engine_s_reason_to_refuse_a_budget_is_told() -> None:
    assert proven("refuses, no usage").detail.endswith("with HTTP 400: set --this")


def test_thinking_that_is_short_by_itself_proves_nothing() -> None:
    binding = proven("holds", free=BUDGET)
    assert binding.state == "native, unproven"
    assert "too little" in binding.detail


def test_an_engine_that_cannot_go_on_is_left_without_budgets() -> None:
    binding = proven("ignores", name="llama.cpp")
    assert binding.state == "none"
    assert str(BUDGET) in binding.detail


@pytest.mark.parametrize("name", ["openai", "deepseek", "openrouter", "anthropic"])
def test_nothing_is_spent_on_probing_what_is_paid_for(name: Name) -> None:
    engine = Scripted("holds")
    binding = asyncio.run(probe(engine.ask, DIALECTS[name], "m", "high"))
    assert engine.asked == 0
    assert not binding.proven
    assert binding.mode == ("none" if DIALECTS[name].budget is None else "native")
