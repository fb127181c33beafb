"""Limits on thinking hold whatever a client does: what an engine is sent, or what is refused."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from test_server_decision import ABSTAINING, ESTIMATE, ROUTED

from router.effort import Effort
from router.policy import Policy
from router.router import Route, Router
from server.api import chat, messages, responses
from server.api.protocol import Api
from server.api_keys import Caller
from server.config.api_key_settings import Limit, SessionBudget
from server.config.settings import Settings
from server.decide.completion_budget import apply_completion_budget
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.effort_cap import check_completion
from server.decide.enforcement import Enforcement
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, DIALECTS, MESSAGES, RESPONSES, Name
from server.engines.model_info import ModelInfo
from server.errors import BadRequest

HI = {"role": "user", "content": "hi"}
THOUGHT = {"role": "assistant", "content": "<think>\nfirst"}
NATIVE = BudgetSupport("native", True, "measured")
TWO_PHASE = BudgetSupport("two-phase", True, "measured")
NONE = BudgetSupport("none", False, "this kind of engine has no thinking budget")
OVERSHOOT = BudgetSupport("native", True, "measured", 37)
SILENT = Caller("k", effort_cap="none")
SHORT = Caller("k", max_budget=5)
LOW = Caller("k", effort_cap="low")
APIS = {CHAT: chat, RESPONSES: responses, MESSAGES: messages}


def decided(
    body: dict[str, Any],
    caller: Caller,
    support: BudgetSupport = NATIVE,
    name: Name = "vllm",
    path: str = CHAT,
    router: Router = ROUTED,
    **settings: Any,
) -> tuple[Decision, dict[str, Any]]:
    """The decision, and the body for the engine as the endpoint writes it."""
    api = cast("Api", APIS[path])
    plain = {"input": "hi"} if path == RESPONSES else {"messages": [HI]}
    request = api.parse({**plain, **body}, {})
    decision = Decider(Settings(**settings), router).decide(request, caller, ModelInfo("m", None))
    decision = Enforcement(request, support, DIALECTS[name], path).check(decision)
    budget = decision.budget if decision.sends_budget else None
    return decision, api.write(request, decision.effort, budget, "m", DIALECTS[name])


SWITCHED_ON: list[dict[str, Any]] = [
    {},
    {"reasoning_effort": "high"},
    {"thinking_token_budget": 4000},
    {"thinking_token_budget": -1},
    {"chat_template_kwargs": {"thinking": True}},
    {"chat_template_kwargs": {"enable_thinking": True}},
    {"thinking": {"type": "enabled", "budget_tokens": 4000}},
    {"reasoning": {"enabled": True, "max_tokens": 4000}},
    {"enable_thinking": True, "thinking_budget": -1},
    {"extra_body": {"google": {"thinking_config": {"thinking_level": "HIGH"}}}},
]
PREFILLED: list[tuple[str, dict[str, Any]]] = [
    ("continue_final_message", {"messages": [HI, THOUGHT], "continue_final_message": True}),
    ("continue_final_message", {"messages": [HI, THOUGHT], "continue_final_message": "true"}),
    ("add_generation_prompt", {"add_generation_prompt": False}),
    ("add_generation_prompt", {"add_generation_prompt": "no"}),
    (
        "chat_template_kwargs.add_generation_prompt",
        {"chat_template_kwargs": {"add_generation_prompt": False}},
    ),
    ("chat_template", {"chat_template": "<think>"}),
    ("input_ids", {"input_ids": [1, 2]}),
    ("messages[1]", {"messages": [HI, THOUGHT]}),
    ("messages[1]", {"messages": [HI, {**THOUGHT, "prefix": True}]}),
    ("messages[1]", {"messages": [HI, {"role": "Assistant", "content": "<think>"}]}),
]


@pytest.mark.parametrize("caller", [SILENT, Caller("k", effort_cap="none", max_budget=5)])
@pytest.mark.parametrize("fields", [*SWITCHED_ON, *(fields for _, fields in PREFILLED)])
def test_a_key_without_thinking_tells_the_engine_so(fields: dict[str, Any], caller: Caller) -> None:
    decision, body = decided(fields, caller)
    assert (decision.effort, decision.budget, decision.budget_limit) == ("none", 0, 0)
    assert (body["reasoning_effort"], body["thinking_token_budget"]) == ("none", 0)
    assert body.get("chat_template_kwargs", {}).get("thinking", False) is False


@pytest.mark.parametrize("fields", SWITCHED_ON)
@pytest.mark.parametrize(("caller", "server"), [(SHORT, None), (Caller(), 5)])
def test_a_limit_in_tokens_holds_at_every_effort(
    fields: dict[str, Any], caller: Caller, server: int | None
) -> None:
    decision, body = decided(fields, caller, max_budget=server)
    assert decision.effort != "none"
    assert body["thinking_token_budget"] == 5
    _, off = decided({"reasoning_effort": "none"}, caller, max_budget=server)
    assert off["thinking_token_budget"] == 0


def test_without_a_limit_effort_none_has_no_budget_for_the_engine() -> None:
    for fields in ({"reasoning_effort": "none"}, {"enable_thinking": False}):
        decision, body = decided(fields, Caller())
        assert (decision.effort, decision.budget) == ("none", 0)
        assert "thinking_token_budget" not in body


def test_a_cap_of_none_holds_on_a_model_that_always_thinks() -> None:
    decision, body = decided({}, SILENT, efforts=("low", "high"))
    assert (decision.effort, decision.budget, decision.budget_source) == ("low", 0, "key")
    assert body["thinking_token_budget"] == 0


@pytest.mark.parametrize(("field", "fields"), PREFILLED)
@pytest.mark.parametrize(
    ("support", "name"),
    [(TWO_PHASE, "vllm"), (NONE, "vllm"), (OVERSHOOT, "vllm"), (NATIVE, "llama.cpp")],
)
@pytest.mark.parametrize("caller", [SILENT, SHORT])
def test_a_prefilled_answer_is_refused_where_its_budget_would_not_bind(
    field: str, fields: dict[str, Any], support: BudgetSupport, name: Name, caller: Caller
) -> None:
    with pytest.raises(BadRequest) as refused:
        decided(fields, caller, support, name)
    limit = 0 if caller is SILENT else 5
    assert (refused.value.param, refused.value.message) == (
        field,
        f"{field} begins the answer, where a thought could exceed the {limit} thinking tokens that "
        "are allowed here: leave it out",
    )
    decided(fields, Caller(), support, name)
    decided({**fields, "max_tokens": 5}, Caller("k", max_budget=5), support, name)


SWITCHES: list[tuple[str, Any]] = [
    *(("enable_reasoning", True), ("reasoning", "on"), ("Thinking", True), ("enable_cot", 1)),
    *(("thinking_strategy", {"depth": 3}), ("deep_think", "yes"), ("effort", "high")),
]
HARMLESS: list[tuple[str, Any]] = [
    *(("enable_reasoning", False), ("preserve_thinking", True), ("clear_thinking", True)),
    *(("keep_cots", True), ("no_think", True), ("disable_thinking", True), ("reasoning", None)),
    *(("truncate_history_thinking", True), ("language", "reasonable"), ("thinking", True)),
]


@pytest.mark.parametrize(("variable", "value"), SWITCHES)
def test_a_variable_that_may_switch_thinking_on_is_refused_where_no_budget_ends_it(
    variable: str, value: Any
) -> None:
    fields = {"chat_template_kwargs": {variable: value}}
    for support in (NONE, TWO_PHASE):
        with pytest.raises(BadRequest) as refused:
            decided(fields, SILENT, support)
        field = f"chat_template_kwargs.{variable}"
        assert (refused.value.param, refused.value.message) == (
            field,
            f"{field} may switch thinking on, beyond the 0 thinking tokens that are allowed here: "
            "leave it out",
        )
        decided({**fields, "reasoning_effort": "none", "max_tokens": 5}, SHORT, support)
        decided({**fields, "max_tokens": 5}, SHORT, support)
        decided(fields, Caller(), support)
        decided(fields, LOW, support)
    assert decided(fields, SILENT)[1]["thinking_token_budget"] == 0


@pytest.mark.parametrize(("variable", "value"), HARMLESS)
def test_a_variable_that_switches_nothing_on_is_accepted(variable: str, value: Any) -> None:
    fields = {"chat_template_kwargs": {variable: value}}
    for support in (NONE, TWO_PHASE, NATIVE):
        assert decided(fields, SILENT, support)[0].effort == "none"


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_a_prefilled_answer_of_the_other_apis_is_refused_alike(path: str) -> None:
    turns = "input" if path == RESPONSES else "messages"
    with pytest.raises(BadRequest, match="begins the answer") as refused:
        decided({turns: [HI, THOUGHT]}, SILENT, path=path)
    assert refused.value.param == ("input" if path == RESPONSES else "messages[1]")
    decision, body = decided({turns: [HI]}, SILENT, path=path)
    assert not decision.sends_budget
    assert "none" in str(body) or "disabled" in str(body)


@pytest.mark.parametrize(
    ("path", "name", "support", "reason"),
    [
        (CHAT, "openai", NONE, "no thinking budget"),
        (CHAT, "anthropic", NATIVE, "at least 1024"),
        (RESPONSES, "vllm", NATIVE, "this API has no budget"),
        (MESSAGES, "vllm", NATIVE, "at least 1024"),
        (MESSAGES, "vllm", TWO_PHASE, "this API has no budget"),
    ],
)
def test_a_limit_that_nothing_would_hold_is_refused(
    path: str, name: Name, support: BudgetSupport, reason: str
) -> None:
    with pytest.raises(BadRequest, match="at most 5 thinking tokens are allowed") as refused:
        decided({}, SHORT, support, name, path)
    assert reason in refused.value.message
    decision, _ = decided({"reasoning_effort": "none"}, SHORT, support, name, path)
    assert not decision.sends_budget
    limit = "max_output_tokens" if path == RESPONSES else "max_tokens"
    shorter, _ = decided({limit: 5}, SHORT, support, name, path)
    assert shorter.budget is None


def test_several_choices_in_two_phases_do_not_get_round_a_limit() -> None:
    with pytest.raises(BadRequest, match="leave out n"):
        decided({"n": 2}, SHORT, TWO_PHASE)


def test_an_engine_with_efforts_or_budgets_has_the_budget_of_a_limit() -> None:
    for fields in ({}, {"reasoning_effort": "high"}):
        _, body = decided(fields, SHORT, name="openrouter")
        assert body["reasoning"] == {"max_tokens": 5}


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        ("<think>", True),
        ("<think>\nso far", True),
        ("<think>done</think> 4", False),
        ("</think><think>again", True),
        ("<seed:think>x", True),
        ("[THINK]x", True),
        ("[THINK]x[/THINK]", False),
        ("◁think▷x", True),
        ("<|START_THINKING|>x", True),
        ("<|START_THINKING|>x<|END_THINKING|>", False),
        ("<|channel|>analysis<|message|>x", True),
        ("<|channel|>analysis<|message|>x<|channel|>final<|message|>", False),
        ("<|channel>thought\nx", True),
        ("<|channel>thought\nx<channel|>", False),
        ("<|begin_of_thought|>x", True),
        ("<|begin_of_thought|>x<|end_of_thought|>", False),
        ("<unused94>thought\nx", True),
        ('{"answer": ', False),
        ("", False),
        *((tag, True) for tag in ("<THINK>", "<Thought>\n", "<think >x", "<think", "<|think|>")),
        *((tag, True) for tag in ("<longcat_think>", "<|inner_prefix|>", "<|begin_thought|>")),
        *((f"{tag} 4", False) for tag in ("</longcat_think>", "<|inner_suffix|>", "</THINK>")),
        ("if x <thinker: pass", False),
    ],
)
def test_a_thought_opened_past_an_effort_cap_is_refused(text: str, opens: bool) -> None:
    fields = {"messages": [HI, {"role": "assistant", "content": text}]}
    if opens:
        with pytest.raises(BadRequest, match=r"effort cap 'low' of key 'k'") as refused:
            decided(fields, LOW)
        assert refused.value.param == "messages[1]"
    else:
        decided(fields, LOW)
    decided(fields, Caller("k", effort_cap="high"))
    decided(fields, Caller("k", effort_cap="low", max_budget=50))


@pytest.mark.parametrize(
    ("fields", "opens"),
    [
        ({"content": "", "reasoning_content": "x", "prefix": True}, True),
        ({"reasoning": "x"}, True),
        ({"content": [{"type": "thinking", "thinking": "x"}]}, True),
        ({"content": [{"type": "text", "text": " "}, {"type": "reasoning", "text": "x"}]}, True),
        ({"content": "4", "reasoning_content": "x"}, False),
        ({"content": None, "reasoning": "x", "tool_calls": [{"id": "1"}]}, False),
        ({"content": [{"type": "tool_use", "id": "1"}]}, False),
    ],
)
def test_a_thought_in_a_field_of_its_own_is_opened_as_well(
    fields: dict[str, Any], opens: bool
) -> None:
    body = {"messages": [HI, {"role": "assistant", **fields}]}
    for path in (CHAT, MESSAGES):
        if opens:
            with pytest.raises(BadRequest) as refused:
                decided(body, LOW, path=path)
            assert refused.value.message == (
                f"{refused.value.param} opens a thought, to which the effort cap 'low' of key 'k' "
                "would not apply: leave it out"
            )
        else:
            decided(body, LOW, path=path)


@pytest.mark.parametrize("extra", [{"n_predict": 500}, {"n_predict": -1}, {"max_new_tokens": "5"}])
def test_a_length_of_another_engine_does_not_get_round_a_limit(extra: dict[str, Any]) -> None:
    """llama.cpp prefers its `n_predict` to `max_tokens`, on every API."""
    for path, length in ((CHAT, "max_tokens"), (RESPONSES, "max_output_tokens")):
        decided({length: 5}, SHORT, NONE, "llama.cpp", path)
        decided({length: 5, "n_predict": 3}, SHORT, NONE, "llama.cpp", path)
        with pytest.raises(BadRequest, match="at most 5 thinking tokens"):
            decided({length: 5, **extra}, SHORT, NONE, "llama.cpp", path)
    body = {"prompt": "<think>", "max_tokens": 5, **extra}
    with pytest.raises(BadRequest, match="at most 5 thinking tokens"):
        apply_completion_budget(body, {}, 5, NATIVE, DIALECTS["llama.cpp"])


def test_messages_without_a_text_open_no_thought() -> None:
    for path, turns in ((MESSAGES, "messages"), (RESPONSES, "input")):
        decision, _ = decided({turns: ["no object"]}, LOW, path=path, router=ABSTAINING)
        assert decision.effort == "low"
        with pytest.raises(BadRequest, match="begins the answer"):
            decided({turns: ["no object"]}, SILENT, path=path, router=ABSTAINING)


def test_a_client_that_wants_no_limit_has_those_of_key_and_server() -> None:
    for name in ("thinking_token_budget", "thinking_budget_tokens", "thinking_budget"):
        decision, body = decided({name: -1, "reasoning_effort": "high"}, Caller())
        assert (decision.budget, decision.budget_source) == (None, "none")
        assert body == {"model": "m", "messages": [HI], "reasoning_effort": "high"}
    assert decided({"thinking_token_budget": -1}, SHORT)[0].budget_source == "key"
    long, _ = decided({"thinking_token_budget": -1, "max_tokens": 50}, Caller())
    assert (long.budget, long.budget_source) == (None, "none")
    assert decided({}, Caller())[0].budget == ESTIMATE.budget["medium"]


class Cheapest(Router):
    """Chooses the lowest effort that it is allowed."""

    def route(
        self,
        messages: Any,
        allowed: Sequence[str] | None = None,
        policy: Policy | None = None,
        kind: str | None = None,
    ) -> Route:
        return Route(next(iter(allowed or ())), ESTIMATE, "cheapest")


def test_a_client_that_switches_thinking_on_gets_an_effort_above_none() -> None:
    decider = Decider(Settings(), Cheapest(("none", "low", "high"), "high"))

    def effort(caller: Caller, **fields: Any) -> str:
        request = chat.parse({"messages": [HI], **fields}, {})
        return decider.decide(request, caller, ModelInfo("m", None)).effort

    on = {"thinking": {"type": "enabled"}}
    assert (effort(Caller()), effort(Caller(), **on)) == ("none", "low")
    assert effort(Caller(), thinking={"type": "adaptive"}) == "none"
    assert effort(SILENT, **on) == "none"


@pytest.mark.parametrize(
    ("fields", "limit", "budget"),
    [
        ({}, None, None),
        ({}, 5, 5),
        ({"thinking_token_budget": 9}, None, 9),
        ({"thinking_token_budget": 9}, 5, 5),
        ({"thinking_token_budget": -1}, 5, 5),
        ({"thinking_token_budget": -1}, None, None),
        ({"thinking_budget_tokens": 3}, 5, 3),
        ({"enable_thinking": False}, None, 0),
        ({"thinking": {"type": "disabled"}}, 5, 0),
        ({"enable_thinking": True}, 5, 5),
        ({"max_tokens": 3}, 5, 5),
    ],
)
def test_a_text_completion_has_the_budget_of_its_key(
    fields: dict[str, Any], limit: int | None, budget: int | None
) -> None:
    body = {"prompt": "<think>", **fields}
    sent = apply_completion_budget(body, {}, limit, NATIVE, DIALECTS["vllm"])
    assert sent.get("thinking_token_budget") == budget
    assert sent["prompt"] == "<think>"
    assert not sent.keys() & {"enable_thinking", "thinking", "thinking_budget_tokens"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "max_tokens"),
        ({"max_tokens": 6}, "max_tokens"),
        ({"thinking_token_budget": 3}, "thinking_token_budget"),
        ({"thinking_token_budget": "3"}, "thinking_token_budget"),
        ({"thinking_token_budget": True}, "thinking_token_budget"),
        ({"max_tokens": "5"}, "max_tokens"),
    ],
)
@pytest.mark.parametrize(
    ("support", "name"),
    [(NATIVE, "llama.cpp"), (TWO_PHASE, "vllm"), (NONE, "vllm"), (OVERSHOOT, "vllm")],
)
def test_a_text_completion_that_could_exceed_a_limit_is_refused(
    fields: dict[str, Any], param: str, support: BudgetSupport, name: Name
) -> None:
    with pytest.raises(BadRequest) as refused:
        apply_completion_budget({"prompt": "x", **fields}, {}, 5, support, DIALECTS[name])
    assert refused.value.param == param
    if param == "thinking_token_budget" and fields[param] == 3:
        assert refused.value.message.startswith("thinking_token_budget cannot be enforced: ")
    for max_tokens in (0, 5):
        untouched = {"prompt": "x", "max_tokens": max_tokens, "reasoning_effort": "high"}
        assert apply_completion_budget(untouched, {}, 5, support, DIALECTS[name]) is untouched


def test_a_text_completion_is_refused_under_an_effort_cap_that_could_not_apply() -> None:
    with pytest.raises(BadRequest) as refused:
        check_completion(LOW, Settings())
    assert (refused.value.param, refused.value.message) == (
        "prompt",
        "the effort cap 'low' of key 'k' does not apply to a text completion; use "
        "/v1/chat/completions",
    )
    for caller in (Caller(), SILENT, SHORT, Caller("k", effort_cap="high")):
        check_completion(caller, Settings())


@pytest.mark.parametrize(
    "caller",
    [
        Caller("k", limits=(Limit("minute", "tokens", 9, 60),)),
        Caller("k", session=SessionBudget(None, 9)),
        Caller("k", limits=(Limit("day", "requests", 9, 86_400),), session=SessionBudget(1, 9)),
    ],
)
def test_a_text_completion_is_refused_where_the_key_s_thinking_tokens_are_counted(
    caller: Caller,
) -> None:
    with pytest.raises(BadRequest) as refused:
        check_completion(caller, Settings())
    assert (refused.value.param, refused.value.message) == (
        "prompt",
        "the thinking tokens of key 'k' are limited, and those of a text completion are not "
        "counted; use /v1/chat/completions",
    )


def test_a_text_completion_is_accepted_where_the_key_s_requests_are_counted() -> None:
    limits = (Limit("minute", "requests", 9, 60),)
    check_completion(Caller("k", limits=limits, session=SessionBudget(9, None)), Settings())


LLAMA_CPP: dict[str, list[tuple[Effort, int | None, dict[str, Any]]]] = {
    RESPONSES: [
        ("low", None, {"reasoning": {"effort": "low"}}),
        ("high", 9, {"reasoning": {"effort": "high"}, "thinking_budget_tokens": 9}),
        ("none", None, {"reasoning": {"effort": "none"}}),
    ],
    MESSAGES: [
        ("low", None, {"output_config": {"effort": "low"}}),
        (
            "high",
            9,
            {
                "output_config": {"effort": "high"},
                "thinking": {"type": "enabled", "budget_tokens": 9},
            },
        ),
        ("none", None, {"thinking": {"type": "disabled"}}),
    ],
}
"""What llama.cpp has on an API besides the variables of its template."""


@pytest.mark.parametrize("path", LLAMA_CPP)
def test_llama_cpp_has_the_effort_as_a_variable_of_its_template_on_every_api(path: str) -> None:
    api = cast("Api", APIS[path])
    plain = {"input": "hi"} if path == RESPONSES else {"messages": [HI]}
    for effort, budget, fields in LLAMA_CPP[path]:
        request = api.parse({**plain, "chat_template_kwargs": {"mine": 1}}, {})
        written = api.write(request, effort, budget, "m", DIALECTS["llama.cpp"])
        variables = {"mine": 1, "reasoning_effort": effort, "enable_thinking": effort != "none"}
        assert written == {**plain, "model": "m", "chat_template_kwargs": variables, **fields}
    decision, _ = decided({"reasoning_effort": "high"}, SHORT, name="llama.cpp", path=path)
    assert (decision.budget, decision.sends_budget) == (5, True)


@pytest.mark.parametrize("name", ["vllm", "sglang"])
@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_off_reaches_templates_that_do_not_read_the_effort(path: str, name: Name) -> None:
    _, off = decided({"reasoning_effort": "none"}, Caller(), name=name, path=path)
    assert off["chat_template_kwargs"] == {"enable_thinking": False}
    _, low = decided({"reasoning_effort": "low"}, Caller(), name=name, path=path)
    assert "chat_template_kwargs" not in low


def test_new_words_of_anthropic_reach_its_own_engine_only() -> None:
    between = {"messages": [HI], "thinking": {"type": "between_tools", "display": "omitted"}}
    request = messages.parse(between, {})
    for name, word in (("anthropic", "between_tools"), ("vllm", "adaptive")):
        dialect = DIALECTS[cast("Name", name)]
        written = messages.write(request, "high", None, "m", dialect)
        assert written["thinking"] == {"type": word, "display": "omitted"}
        bounded = messages.write(request, "high", 2000, "m", dialect)
        assert bounded["thinking"] == {
            "type": "enabled",
            "display": "omitted",
            "budget_tokens": 2000,
        }
        assert messages.write(request, "none", None, "m", dialect)["thinking"] == {
            "type": "disabled"
        }
