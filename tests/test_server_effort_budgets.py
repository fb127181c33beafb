"""The setting `effort_budgets`, from its text to what engines are sent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_server_chat_templates import STRICT, SWITCH, TURNS
from test_server_decision import LADDER, ROUTED, SERVED, Scripted, decide

from router.effort import Effort
from router.router import Router
from server.api import chat, messages, responses
from server.api_keys import Caller
from server.chat_templates.efforts import read_efforts
from server.config.load_settings import SettingsError, load_settings
from server.config.model_template import dialect_of, with_template
from server.config.settings import Settings
from server.decide.budget import thinking_limit
from server.decide.conversations import Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.enforcement import Enforcement
from server.decide.holdout import Holdout, Shares
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, DIALECTS, MESSAGES, RESPONSES, Name
from server.errors import BadRequest

HI = [{"role": "user", "content": "hi"}]
MAP: dict[Effort, int] = {"low": 30, "medium": 90}
NATIVE = BudgetSupport("native", True, "measured")
TWO_PHASE = BudgetSupport("two-phase", True, "measured")
NONE = BudgetSupport("none", False, "the engine ignores budgets")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_map_is_text_or_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " medium = 90, low=30 "
    assert [*load_settings({"effort_budgets": text}).effort_budgets] == ["low", "medium"]
    monkeypatch.setenv("TOPS_EFFORT_BUDGETS", "low=30,medium=90")
    assert load_settings().effort_budgets == MAP
    monkeypatch.delenv("TOPS_EFFORT_BUDGETS")
    (tmp_path / "tops.toml").write_text("effort_budgets = {low = 30, medium = 90}\n")
    assert load_settings().effort_budgets == MAP
    assert load_settings({"effort_budgets": "low=31"}).effort_budgets == {"low": 31}
    assert load_settings({"effort_budgets": ""}).effort_budgets == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"effort_budgets": "lowe=30"}, "'lowe' is no effort: did you mean low?"),
        ({"effort_budgets": "fast=30"}, "'fast' is no effort: the efforts are none, minimal"),
        ({"effort_budgets": "none=0"}, "'none' does not think"),
        ({"effort_budgets": "low"}, "'low' is no pair: give an effort and its tokens"),
        ({"effort_budgets": "low=1k"}, "a whole number of thinking tokens from 1 to"),
        ({"effort_budgets": "low=0"}, "a whole number of thinking tokens from 1 to"),
        ({"effort_budgets": {"low": 1.5}}, "a whole number of thinking tokens from 1 to"),
        ({"effort_budgets": {"low": True}}, "a whole number of thinking tokens from 1 to"),
        ({"effort_budgets": "low=30,low=40"}, "effort 'low' has two budgets"),
        ({"effort_budgets": "low=90,medium=90"}, "is not above that of 'low', 90"),
        ({"effort_budgets": ["low"]}, "give pairs such as low=1024"),
        (
            {"effort_budgets": "low=30", "dialect": "openai", "model": "m"},
            "dialect openai has no thinking budget, so effort_budgets cannot hold",
        ),
        (
            {"effort_budgets": "low=30", "dialect": "anthropic", "model": "m"},
            "takes budgets of at least 1024 thinking tokens: raise that of 'low'",
        ),
        (
            {"effort_budgets": "minimal=2000", "dialect": "anthropic", "model": "m"},
            "dialect anthropic does not support minimal",
        ),
    ],
)
def test_an_unusable_map_is_refused_at_the_start(settings: dict[str, Any], message: str) -> None:
    upstream = {"upstream": "http://127.0.0.1:1"} if "dialect" in settings else {}
    with pytest.raises(SettingsError) as refused:
        load_settings({**settings, **upstream})
    assert message in str(refused.value)


def test_an_effort_with_a_budget_is_offered_whether_or_not_the_model_has_it() -> None:
    settings = Settings(efforts=("none", "high"), effort_budgets=MAP, baseline_effort="medium")
    assert settings.offered_efforts == ("none", "low", "medium", "high")
    decision = decide({"reasoning_effort": "minimal"}, efforts=("none", "high"), effort_budgets=MAP)
    assert (decision.effort, decision.budget, decision.budget_source) == ("low", 30, "effort")


@pytest.mark.parametrize(
    ("fields", "settings", "caller", "budget", "source"),
    [
        ({"reasoning_effort": "low"}, {}, {}, 30, "effort"),
        ({"reasoning_effort": "low", "thinking_token_budget": 20}, {}, {}, 20, "request"),
        ({"reasoning_effort": "low", "thinking_token_budget": 40}, {}, {}, 30, "effort"),
        ({"reasoning_effort": "low", "thinking_token_budget": -1}, {}, {}, 30, "effort"),
        ({"reasoning_effort": "high", "thinking_token_budget": -1}, {}, {}, None, "none"),
        ({"reasoning_effort": "low", "max_tokens": 20}, {}, {}, 10, "limit"),
        ({"reasoning_effort": "low"}, {"max_budget": 25}, {}, 25, "limit"),
        ({"reasoning_effort": "low"}, {}, {"max_budget": 25}, 25, "key"),
        ({"reasoning_effort": "low"}, {}, {"max_budget": 35}, 30, "effort"),
        ({"reasoning_effort": "none"}, {}, {}, 0, "effort"),
        ({}, {}, {}, 90, "effort"),  # the router's medium, with a budget of 150
        ({"reasoning_effort": "auto"}, {}, {}, 90, "effort"),
        ({"thinking_token_budget": 70}, {}, {}, 70, "request"),
        ({"reasoning_effort": "high"}, {}, {}, 600, "router"),
    ],
)
def test_the_lowest_of_all_budgets_holds(
    fields: dict[str, Any],
    settings: dict[str, Any],
    caller: dict[str, Any],
    budget: int | None,
    source: str,
) -> None:
    decision = decide(fields, Caller(**caller), effort_budgets=MAP, **settings)
    assert (decision.budget, decision.budget_source) == (budget, source)


@pytest.mark.parametrize(
    ("cap", "limit"),
    [("none", 0), ("minimal", None), ("low", 30), ("medium", 90), ("high", None), ("max", None)],
)
def test_a_key_s_effort_cap_is_a_limit_of_tokens(cap: Effort, limit: int | None) -> None:
    """At `minimal` the key has none but `none`, which has no budget of its own."""
    decision = decide({}, Caller(effort_cap=cap), effort_budgets=MAP)
    assert decision.budget_limit == limit
    for max_budget, lower in ((29, 29), (31, 30)):
        both = decide({}, Caller(effort_cap="low", max_budget=max_budget), effort_budgets=MAP)
        assert both.budget_limit == lower
    every = decide({}, Caller(effort_cap="max"), effort_budgets={**MAP, "high": 600})
    assert every.budget_limit == 600  # of the highest below the cap


def test_a_cap_below_all_efforts_of_the_model_has_the_budget_of_its_lowest() -> None:
    settings = Settings(efforts=("low", "high"), effort_budgets={"low": 100})
    limit = thinking_limit(Caller("k", effort_cap="minimal"), settings)
    assert limit == (100, "key")


def test_the_fallback_and_the_holdout_have_the_baseline_s_budget() -> None:
    fallback = decide({}, router=Router.without_artifact(LADDER, "medium"), effort_budgets=MAP)
    assert fallback.source == "fallback"
    assert (fallback.effort, fallback.budget, fallback.budget_source) == ("medium", 90, "effort")
    router = Scripted(LADDER, "medium")
    decider = Decider(Settings(effort_budgets=MAP), router, Holdout(Shares(1.0), b"key"))
    request = chat.parse({"messages": HI}, {})
    held = decider.decide(request, Caller(), SERVED, thread=Thread("0" * 32))
    assert (held.source, held.effort, held.budget) == ("holdout", "medium", 90)


def checked(
    fields: dict[str, Any],
    support: BudgetSupport = NATIVE,
    path: str = CHAT,
    name: Name = "vllm",
    caller: Caller | None = None,
    **settings: Any,
) -> Decision:
    """The decision under MAP, checked against what the engines enforce on an API."""
    api = {CHAT: chat, RESPONSES: responses, MESSAGES: messages}[path]
    plain = {"input": "hi"} if path == RESPONSES else {"messages": HI}
    if path == RESPONSES and "reasoning_effort" in fields:
        fields = {"reasoning": {"effort": fields["reasoning_effort"]}}
    request = api.parse({**plain, **fields}, {})
    enforcement = Enforcement(request, support, DIALECTS[name], path)
    decider = Decider(Settings(**{"effort_budgets": MAP, **settings}), ROUTED)
    decision = decider.decide(request, caller or Caller(), SERVED, enforcement=enforcement)
    return enforcement.check(decision)


UNENFORCED: list[tuple[dict[str, Any], BudgetSupport, str, Name, str]] = [
    ({}, NATIVE, RESPONSES, "vllm", "this API has no budget on this engine"),
    ({}, NONE, CHAT, "vllm", NONE.detail),
    ({"n": 2}, TWO_PHASE, CHAT, "sglang", "a budget in two phases is for one choice"),
    ({"max_tokens": 1000}, NATIVE, MESSAGES, "vllm", "at least 1024 thinking tokens, not 30"),
]


@pytest.mark.parametrize(("fields", "support", "path", "name", "message"), UNENFORCED)
def test_an_effort_of_the_client_s_whose_budget_nothing_enforces_is_refused(
    fields: dict[str, Any], support: BudgetSupport, path: str, name: Name, message: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        checked({**fields, "reasoning_effort": "low"}, support, path, name)
    assert "effort 'low' is a budget of 30 thinking tokens here" in refused.value.message
    assert message in refused.value.message
    decision = checked({**fields, "reasoning_effort": "high"}, support, path, name)
    assert decision.effort == "high"


@pytest.mark.parametrize(("fields", "support", "path", "name", "message"), UNENFORCED[:3])
def test_the_router_leaves_out_efforts_whose_budget_nothing_enforces(
    fields: dict[str, Any], support: BudgetSupport, path: str, name: Name, message: str
) -> None:
    decision = checked(fields, support, path, name)
    assert (decision.effort, decision.budget) == ("high", None), message
    every = checked(fields, support, path, name, effort_budgets={**MAP, "high": 200})
    assert (every.effort, every.budget) == ("medium", None)  # as nothing would think otherwise
    with pytest.raises(BadRequest, match="at most 30 thinking tokens are allowed here"):
        checked(fields, support, path, name, Caller(effort_cap="low"))


def test_the_router_leaves_out_efforts_whose_budgets_are_too_small_for_two_choices() -> None:
    support = replace(NATIVE, offset=20)
    assert checked({"n": 2}, support).allowed == ("none", "medium", "high")
    assert checked({}, support).allowed == LADDER


def test_an_answer_that_is_shorter_than_its_effort_s_budget_needs_no_enforcement() -> None:
    decision = checked({"reasoning_effort": "low", "max_tokens": 30}, NONE)
    assert (decision.effort, decision.budget) == ("low", None)


@pytest.mark.parametrize("support", [NATIVE, TWO_PHASE])
def test_a_budget_that_can_be_enforced_is_kept(support: BudgetSupport) -> None:
    decision = checked({"reasoning_effort": "low"}, support)
    assert (decision.budget, decision.budget_source) == (30, "effort")
    assert checked({}, support).effort == "medium"


def test_where_an_engine_takes_an_effort_or_a_budget_the_effort_s_budget_is_sent() -> None:
    decision = checked({"reasoning_effort": "low"}, name="openrouter")
    request = chat.parse({"messages": HI}, {})
    body = chat.write(request, decision.effort, decision.budget, "m", DIALECTS["openrouter"])
    assert body["reasoning"] == {"max_tokens": 30}


def test_on_messages_a_budget_is_raised_to_the_least_that_the_api_takes() -> None:
    decision = checked({"reasoning_effort": "low", "max_tokens": 4000}, path=MESSAGES)
    assert (decision.budget, decision.budget_source) == (1024, "limit")


def sent(api: Any, settings: Settings, template: str | None, effort: Effort) -> dict[str, Any]:
    efforts = None if template is None else read_efforts(template)
    plain = {"input": "hi"} if api is responses else {"messages": HI}
    request = api.parse(plain, {})
    dialect = dialect_of(settings, efforts)
    body = api.write(request, effort, settings.effort_budgets.get(effort), "m", dialect)
    return {key: value for key, value in body.items() if key not in ("model", *plain)}


def upstream(**settings: Any) -> Settings:
    return load_settings({"upstream": "http://127.0.0.1:1", **settings})


def test_an_effort_that_the_template_does_not_know_is_thinking_switched_on_and_the_budget() -> None:
    mapped = {"effort_budgets": "low=30,medium=90"}
    switch = sent(chat, upstream(**mapped), SWITCH, "low")
    assert switch == {"reasoning_effort": "high", "thinking_token_budget": 30}
    strict = sent(chat, upstream(effort_budgets="high=30"), STRICT, "high")
    assert strict == {
        "reasoning_effort": "xhigh",  # the template refuses "high"
        "thinking_token_budget": 30,
        "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "xhigh"},
    }
    known = sent(chat, upstream(**mapped), STRICT, "low")
    assert known["reasoning_effort"] == "low"
    native = upstream(**mapped, dialect="llama.cpp")
    assert sent(chat, native, SWITCH, "low")["chat_template_kwargs"] == {
        "reasoning_effort": "high",
        "enable_thinking": True,
    }
    assert sent(messages, upstream(**mapped), SWITCH, "low") == {
        "output_config": {"effort": "high"},
        "thinking": {"type": "enabled", "budget_tokens": 30},
    }
    assert sent(responses, upstream(**mapped), SWITCH, "low") == {"reasoning": {"effort": "high"}}


def test_an_unreadable_template_takes_the_efforts_that_are_set() -> None:
    unset = upstream(effort_budgets="low=30")
    assert sent(chat, unset, None, "low")["reasoning_effort"] == "low"
    stated = upstream(effort_budgets="low=30", efforts="none,high")
    assert sent(chat, stated, None, "low")["reasoning_effort"] == "high"
    assert sent(chat, stated, None, "none") == {"reasoning_effort": "none"}
    silent = sent(chat, upstream(effort_budgets="low=30"), TURNS, "low")
    assert silent["reasoning_effort"] == "low"  # a template in which no thinking can be seen


def test_a_variable_of_the_client_s_gets_the_template_s_word_too() -> None:
    settings = upstream(effort_budgets="low=30", efforts="none,high")
    request = chat.parse({"messages": HI, "chat_template_kwargs": {"thinking_effort": "low"}}, {})
    body = chat.write(request, "low", 30, "m", dialect_of(settings, None))
    assert body["chat_template_kwargs"] == {"thinking_effort": "high"}


def test_with_one_way_to_think_efforts_are_budgets() -> None:
    switch, strict = read_efforts(SWITCH), read_efforts(STRICT)
    mapped = upstream(effort_budgets="low=30,medium=90")
    chosen = with_template(mapped, switch)
    assert chosen.efforts == ("none", "high")
    assert (chosen.offered_efforts, chosen.baseline_effort) == (
        ("none", "low", "medium", "high"),
        "high",
    )
    assert chosen.efforts_are_budgets
    assert not with_template(mapped, strict).efforts_are_budgets
    assert not with_template(upstream(), switch).efforts_are_budgets
    stated = upstream(effort_budgets="low=30", baseline_effort="low")
    assert with_template(stated, switch).baseline_effort == "low"
