"""The canary on scripted engines that enforce budgets in every way, or not at all."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from server.engines.budget_support import BudgetSupport
from server.engines.canary import BUDGET, ProbeReply, probe
from server.engines.dialect import DIALECTS, Name

ERROR = {"error": {"message": "set --this"}}


class Scripted:
    """An engine that thinks `unbounded` tokens, and enforces a budget as its kind says."""

    def __init__(self, kind: str, unbounded: int = 200) -> None:
        self.kind = kind
        self.unbounded = unbounded
        self.requests = 0

    async def ask(self, body: dict[str, Any], budget: int | None) -> ProbeReply:
        self.requests += 1
        native_budget = body.get("thinking_token_budget")
        thinking = min(self.unbounded, body["max_tokens"])
        if budget is not None:
            thinking = self.unbounded if self.kind == "ignores all" else min(thinking, budget)
        elif native_budget is not None:
            if self.kind.startswith("refuses"):
                return ProbeReply(400, None if "html" in self.kind else ERROR)
            thinking = self._limited(native_budget, thinking)
        if "no usage" in self.kind:
            return ProbeReply(200, {"choices": []})
        details = {"completion_tokens_details": {"reasoning_tokens": thinking}}
        return ProbeReply(200, {"usage": {"prompt_tokens": 5, "completion_tokens": 300, **details}})

    def _limited(self, budget: int, thinking: int) -> int:
        ends = {"holds": budget, "one short": budget - 1, "sentence on top": budget + 12}
        if self.kind == "random":
            return budget + 7 * self.requests
        return min(thinking, ends.get(self.kind, thinking))


def probed(kind: str, unbounded: int = 200, name: Name = "vllm") -> BudgetSupport:
    engine = Scripted(kind, unbounded)
    support = asyncio.run(probe(engine.ask, DIALECTS[name], "m", "high"))
    assert engine.requests <= 7
    return support


@pytest.mark.parametrize(
    ("kind", "mode", "is_proven", "offset"),
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
def test_the_canary_s_conclusions(kind: str, mode: str, is_proven: bool, offset: int) -> None:
    support = probed(kind)
    assert (support.mode, support.proven, support.offset) == (mode, is_proven, offset)
    assert support.detail


def test_an_engine_s_reason_to_refuse_a_budget_is_reported() -> None:
    assert probed("refuses, no usage").detail.endswith("with HTTP 400: set --this")


def test_thinking_that_ends_before_the_budget_proves_nothing() -> None:
    support = probed("holds", unbounded=BUDGET)
    assert support.state == "native, unproven"
    assert "too little" in support.detail


def test_an_engine_that_cannot_continue_a_message_has_no_budgets() -> None:
    cannot = replace(DIALECTS["vllm"], resume=None)
    support = asyncio.run(probe(Scripted("ignores").ask, cannot, "m", "high"))
    assert support.state == "none"
    assert str(BUDGET) in support.detail


@pytest.mark.parametrize("name", ["openai", "deepseek", "openrouter", "anthropic"])
def test_hosted_apis_are_not_probed(name: Name) -> None:
    engine = Scripted("holds")
    support = asyncio.run(probe(engine.ask, DIALECTS[name], "m", "high"))
    assert engine.requests == 0
    assert support.proven is False
    assert support.mode == ("none" if DIALECTS[name].budget is None else "native")
    assert support.detail in (
        "this kind of engine has no thinking budget",
        "not probed, because requests cost money",
    )


def test_a_model_that_never_thinks_is_not_probed() -> None:
    engine = Scripted("holds")
    support = asyncio.run(probe(engine.ask, DIALECTS["vllm"], "m", "none"))
    assert (engine.requests, support.state) == (0, "native, unproven")
    assert support.detail == "not probed, because the model has no effort but none"


@pytest.mark.parametrize(("kind", "mode"), [("aloud", "none"), ("apart", "native")])
def test_thoughts_in_the_answer_s_text_are_noticed(kind: str, mode: str) -> None:
    """By llama.cpp where it does not recognise the template as one of a thinking model."""

    async def ask(body: dict[str, Any], budget: int | None) -> ProbeReply:
        thinks = body["chat_template_kwargs"]["enable_thinking"]
        thoughts = "I add 34 and 27. " * 9 if thinks else ""
        message = {"content": "It is 60."}
        if kind == "aloud":
            message["content"] = thoughts + message["content"]
        elif thinks:
            message["reasoning_content"] = thoughts
        return ProbeReply(200, {"choices": [{"message": message}]})

    support = asyncio.run(probe(ask, DIALECTS["llama.cpp"], "m", "high"))
    assert support.mode == mode
    assert ("does not recognise the chat template" in support.detail) == (kind == "aloud")


THOUGHTS = "I add and subtract the numbers in turn."


class Thinking:
    """An engine that thinks unless its block is closed; `answers` are what it then sends."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer

    async def ask(self, body: dict[str, Any], budget: int | None) -> ProbeReply:
        assert budget is None
        message = {"reasoning": "hm"}
        if body["messages"][-1]["role"] == "assistant":
            prefix = body["messages"][-1]["content"]
            message = {name: text.replace("PREFIX", prefix) for name, text in self.answer.items()}
        return ProbeReply(200, {"choices": [{"message": message}]})


@pytest.mark.parametrize(
    ("answer", "continues"),
    [
        ({"content": "It is 60."}, True),
        ({"content": "PREFIXIt is 60."}, True),
        ({"content": "PREFIX"}, False),
        ({"content": "It is 60.", "reasoning_content": THOUGHTS}, True),
        ({"content": "It is 60.", "reasoning": "Let me begin again"}, False),
        ({"content": " "}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("name", ["vllm", "llama.cpp"])
def test_an_engine_continues_where_it_answers_after_a_closed_block_without_thinking(
    answer: dict[str, str], continues: bool, name: Name
) -> None:
    support = asyncio.run(probe(Thinking(**answer).ask, DIALECTS[name], "m", "high"))
    assert (support.state, support.continues) == ("native, unproven", continues)


@pytest.mark.parametrize(
    ("limited", "two_phases", "state"),
    [
        ("It is 60. Indeed.", "ignores", "native"),
        ("\nTime is up.\n</think>It is 60.", "ignores", "two-phase"),
        ("\nTime is up.\n</think>It is 60.", "ignores all", "native, unproven"),
        ("", "ignores", "two-phase"),
        (None, "ignores", "native"),
    ],
)
def test_an_engine_that_counts_answers_as_thinking_does_not_enforce_budgets(
    limited: str | None, two_phases: str, state: str
) -> None:
    """vLLM does where it is to end thoughts with a sentence that the model does not write."""
    usage = {"holds": Scripted("holds"), "two-phase": Scripted(two_phases)}

    async def ask(body: dict[str, Any], budget: int | None) -> ProbeReply:
        message = {"reasoning": "hm"}
        assert (body["model"], body["reasoning_effort"]) == ("m", "high")
        is_continued = body["messages"][-1]["role"] == "assistant"
        assert body["max_tokens"] <= (16 if is_continued else 256)
        assert body.get("stream", False) is is_continued
        assert body.get("thinking_token_budget") in ((None, 1) if is_continued else (None, BUDGET))
        if is_continued:
            text = limited if "thinking_token_budget" in body else "It is 60. It was easy."
            if text is None:
                return ProbeReply(400, ERROR)
            message = {"content": text}
        reply = await usage["holds" if budget is None else "two-phase"].ask(body, budget)
        return ProbeReply(200, {**reply.answer, "choices": [{"message": message}]})

    support = asyncio.run(probe(ask, DIALECTS["vllm"], "m", "high"))
    assert support.state == state
    assert support.continues
    assert ("counts the answer's tokens" in support.detail) == (state != "native")
    assert sum(scripted.requests for scripted in usage.values()) <= 7


@pytest.mark.parametrize(
    ("methods", "state", "adds_logprobs"),
    [
        (["usage"], "two-phase", False),
        (["tokenizer"], "two-phase", False),
        (["estimate", "logprobs"], "two-phase", True),
        (["estimate", "estimate"], "two-phase, unproven", False),
        (["estimate", None], "two-phase, unproven", False),
    ],
)
def test_two_phases_are_proven_where_their_tokens_can_be_counted(
    methods: list[Any], state: str, adds_logprobs: bool
) -> None:
    engine, replies = Scripted("ignores"), iter(methods)

    async def ask(body: dict[str, Any], budget: int | None) -> ProbeReply:
        reply = await engine.ask(body, budget)
        if budget is None:
            return reply
        method = next(replies)
        return ProbeReply(400, {}) if method is None else reply._replace(method=method)

    support = asyncio.run(probe(ask, DIALECTS["vllm"], "m", "high"))
    assert (support.state, support.adds_logprobs) == (state, adds_logprobs)
    assert support.counts is (state == "two-phase")
    assert support.continues
