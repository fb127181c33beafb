"""Whether a decision's budget can be enforced: dropped, raised or refused where it cannot."""

from typing import Any

import pytest
from test_server_decision import decide

from server.api import chat, messages, responses
from server.decide.decision import Decision
from server.decide.enforcement import Enforcement
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, DIALECTS, MESSAGES, RESPONSES, Name
from server.errors import BadRequest

HI = [{"role": "user", "content": "hi"}]
NATIVE = BudgetSupport("native", True, "measured")
TWO_PHASE = BudgetSupport("two-phase", True, "measured")
NONE = BudgetSupport("none", False, "this kind of engine has no thinking budget")
OVERSHOOT = BudgetSupport("native", True, "measured", 37)
"""An engine that counts a transition sentence of 37 tokens on top of the budget."""


def check(
    fields: dict[str, Any], support: BudgetSupport, name: Name = "vllm", path: str = CHAT
) -> Decision:
    api = {CHAT: chat, RESPONSES: responses, MESSAGES: messages}[path]
    body = {"input": "hi", **fields} if path == RESPONSES else {"messages": HI, **fields}
    request = api.parse(body, {})
    return Enforcement(request, support, DIALECTS[name], path).check(decide(fields))


def untimed(decision: Decision) -> Decision:
    return decision._replace(routed_at=None)


@pytest.mark.parametrize("support", [NATIVE, TWO_PHASE, OVERSHOOT])
def test_a_budget_that_can_be_enforced_stays(support: BudgetSupport) -> None:
    decision = check({}, support)
    assert (decision.budget, decision.budget_source) == (150, "router")
    own = {"thinking_token_budget": 70}
    assert untimed(check(own, support)) == untimed(decide(own))


@pytest.mark.parametrize(
    ("fields", "support", "name", "path"),
    [
        ({}, NONE, "openai", CHAT),
        ({}, NATIVE, "openrouter", CHAT),
        ({"n": 2}, TWO_PHASE, "vllm", CHAT),
        ({}, NATIVE, "vllm", RESPONSES),
        ({}, TWO_PHASE, "vllm", MESSAGES),
        ({}, NATIVE, "openai", MESSAGES),
    ],
)
def test_the_router_s_budget_is_dropped_where_nothing_enforces_it(
    fields: dict[str, Any], support: BudgetSupport, name: Name, path: str
) -> None:
    decision = check(fields, support, name, path)
    assert (decision.budget, decision.budget_source) == (None, "none")
    assert decision.effort == "medium"


@pytest.mark.parametrize(
    ("fields", "support", "name", "path", "message"),
    [
        ({}, NONE, "openai", CHAT, NONE.detail),
        (
            {"n": 2},
            TWO_PHASE,
            "vllm",
            CHAT,
            "a budget in two phases is for one choice; leave out n",
        ),
        (
            {},
            NATIVE,
            "anthropic",
            CHAT,
            "this engine takes at least 1024 thinking tokens, not 70",
        ),
        (
            {},
            NATIVE,
            "vllm",
            RESPONSES,
            "this API has no budget on this engine; use /v1/chat/completions",
        ),
    ],
)
def test_a_client_s_budget_is_refused_where_nothing_enforces_it(
    fields: dict[str, Any], support: BudgetSupport, name: Name, path: str, message: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        check({"thinking_token_budget": 70, **fields}, support, name, path)
    assert refused.value.param == "thinking_token_budget"
    assert refused.value.message == f"thinking_token_budget cannot be enforced: {message}"


def test_an_exclusive_dialect_refuses_an_effort_with_a_budget() -> None:
    fields = {"thinking_token_budget": 70, "reasoning_effort": "low"}
    message = "this engine takes an effort or a budget, not both: leave out thinking_token_budget"
    with pytest.raises(BadRequest, match=message) as refused:
        check(fields, NATIVE, "openrouter")
    assert refused.value.param == "thinking_token_budget"


def test_an_exclusive_dialect_takes_a_budget_from_the_client_without_an_effort() -> None:
    decision = check({"thinking_token_budget": 70}, NATIVE, "openrouter")
    assert (decision.budget, decision.budget_source) == (70, "request")
    unbounded = check({"reasoning_effort": "low"}, NATIVE, "openrouter")
    assert (unbounded.effort, unbounded.budget) == ("low", None)


def test_effort_none_and_a_decision_without_a_budget_need_no_enforcement() -> None:
    assert check({"reasoning_effort": "none"}, NONE, "openai").budget == 0
    unbounded = decide({})._replace(budget=None, budget_source="none")
    request = chat.parse({"messages": HI}, {})
    assert Enforcement(request, NONE, DIALECTS["openai"], CHAT).check(unbounded) is unbounded


@pytest.mark.parametrize(("max_tokens", "budget"), [(None, 1024), (1056, 1024), (1055, None)])
def test_the_router_s_budget_is_raised_to_the_smallest_that_leaves_room_for_an_answer(
    max_tokens: int | None, budget: int | None
) -> None:
    decision = check({"max_tokens": max_tokens}, NATIVE, "anthropic")
    assert (decision.budget, decision.budget_source) == (budget, "limit" if budget else "none")


def test_a_budget_at_the_smallest_is_accepted() -> None:
    decision = check({"thinking_token_budget": 1024}, NATIVE, "anthropic")
    assert (decision.budget, decision.budget_source) == (1024, "request")


def test_a_limit_below_the_client_s_budget_is_what_cannot_be_enforced() -> None:
    fields = {"thinking_token_budget": 200}
    request = chat.parse({"messages": HI, **fields}, {})
    with pytest.raises(BadRequest) as refused:
        Enforcement(request, NONE, DIALECTS["openai"], CHAT).check(decide(fields, max_budget=100))
    assert refused.value.message == (
        "at most 100 thinking tokens are allowed here, which cannot be enforced: "
        f"{NONE.detail}, or request the effort 'none'"
    )


def test_several_choices_with_a_budget_below_the_overshoot_would_need_two_phases() -> None:
    assert check({"n": 2}, OVERSHOOT).budget == 150
    with pytest.raises(BadRequest, match="one choice"):
        check({"n": 2, "thinking_token_budget": 70}, OVERSHOOT)
    assert check({"thinking_token_budget": 70}, OVERSHOOT).budget == 70


def test_the_final_attempt_of_a_composite_effort_has_a_budget_that_is_enforced_too() -> None:
    request = chat.parse({"messages": HI, "max_tokens": 5000}, {})
    both = decide({})._replace(final=decide({}))
    for support, name, path, budget in (
        (NATIVE, "vllm", CHAT, 150),
        (NATIVE, "vllm", RESPONSES, None),
        (NONE, "vllm", CHAT, None),
        (NATIVE, "anthropic", CHAT, 1024),
    ):
        final = Enforcement(request, support, DIALECTS[name], path).check(both).final
        assert final is not None
        assert final.budget == budget


@pytest.mark.parametrize(
    ("fields", "budget", "support", "name", "path", "kept", "taken"),
    [
        ({}, 150, NATIVE, "vllm", CHAT, True, True),
        ({}, 150, BudgetSupport("native", False, "trusted"), "vllm", CHAT, False, True),
        ({}, 150, NONE, "vllm", CHAT, False, False),
        ({}, 150, NATIVE, "openrouter", CHAT, False, True),  # its efforts exclude budgets
        ({}, 1024, NATIVE, "anthropic", CHAT, True, True),
        ({}, 1023, NATIVE, "anthropic", CHAT, False, True),  # it would be raised
        ({}, 150, NATIVE, "vllm", RESPONSES, False, False),
        ({"n": 2}, 150, OVERSHOOT, "vllm", CHAT, True, True),
        ({"n": 2}, 36, OVERSHOOT, "vllm", CHAT, False, False),
        ({}, 2 * 37, OVERSHOOT, "llama.cpp", RESPONSES, True, True),
        ({}, 2 * 37 - 1, OVERSHOOT, "llama.cpp", RESPONSES, False, True),
        ({}, 1, OVERSHOOT, "llama.cpp", RESPONSES, False, True),
        ({}, 0, OVERSHOOT, "llama.cpp", RESPONSES, True, True),  # thinking switched off
    ],
)
def test_engines_keep_a_budget_where_they_are_proven_to_and_take_some_others(
    fields: dict[str, Any],
    budget: int,
    support: BudgetSupport,
    name: Name,
    path: str,
    kept: bool,
    taken: bool,
) -> None:
    request = chat.parse({"messages": HI, **fields}, {})
    enforcement = Enforcement(request, support, DIALECTS[name], path)
    assert (enforcement.keeps(budget), enforcement.takes(budget)) == (kept, taken)


def test_the_overshoot_is_added_to_the_smallest_budget_of_the_api() -> None:
    raised = check({"max_tokens": 5000}, OVERSHOOT, path=MESSAGES)
    assert (raised.budget, raised.budget_source) == (1024 + 37, "limit")
    assert OVERSHOOT.budget_to_send(1024 + 37) == 1024
    assert check({}, OVERSHOOT, "anthropic").budget == 1024 + 37
    enabled = {"thinking": {"type": "enabled", "budget_tokens": 1030}}
    request = messages.parse({"messages": HI, "max_tokens": 5000, **enabled}, {})
    decision = decide({"thinking_token_budget": 1030})
    with pytest.raises(BadRequest, match="at least 1061 thinking tokens, not 1030"):
        Enforcement(request, OVERSHOOT, DIALECTS["vllm"], MESSAGES).check(decision)
