"""Precedence of effort and budget, with a router whose choices are fixed."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from models.domain.stories import stories
from router.artifact import ArtifactError, load
from router.estimate import Estimate
from router.policy import Policy
from router.pressure import IDLE, Load
from router.router import Route, Router
from server.api.chat import parse
from server.api_keys import Caller
from server.config.load_router import load_router
from server.config.settings import Settings
from server.decide.conversations import Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.explain import explain
from server.decide.headers import decision_headers
from server.decide.holdout import Holdout, Shares
from server.engines.model_info import ModelInfo
from server.errors import BadRequest
from server.ledger.row import row_of
from server.lifecycle.record import RequestRecord

ESTIMATE = Estimate(
    difficulty=0.4,
    p_correct={"none": 0.1, "low": 0.5, "medium": 0.8, "high": 0.9},
    tokens={"none": 0.0, "low": 20.0, "medium": 60.0, "high": 240.0},
    budget={"none": 0, "low": 50, "medium": 150, "high": 600},
)


class Scripted(Router):
    """Chooses `high` for prompts with the word "hard" and `medium` for others, where allowed."""

    def route(
        self,
        messages: Any,
        allowed: Sequence[str] | None = None,
        policy: Policy | None = None,
        kind: str | None = None,
    ) -> Route:
        wanted = "high" if "hard" in messages.turns[-1].text else "medium"
        effort = wanted if allowed is None or wanted in allowed else list(allowed)[-1]
        return Route(effort, ESTIMATE, "scripted")


STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens are there now?"
LADDER = ("none", "low", "medium", "high")
ROUTED = Scripted(LADDER, "high")
ABSTAINING = Router.without_artifact(LADDER, "high")
ANYONE = Caller()
SERVED = ModelInfo("m", None)


def user(text: str = "hi") -> dict[str, str]:
    return {"role": "user", "content": text}


def decide(
    fields: dict[str, Any] | None = None,
    caller: Caller = ANYONE,
    router: Router = ROUTED,
    context: int | None = None,
    load: Load = IDLE,
    **settings: Any,
) -> Decision:
    decider = Decider(Settings(**settings), router)
    request = parse({"messages": [user()], **(fields or {})}, {})
    return decider.decide(request, caller, ModelInfo("m", context), load, Thread("0" * 32))


def test_the_router_decides_where_the_client_does_not() -> None:
    decision = decide()
    assert (decision.effort, decision.source) == ("medium", "router")
    assert (decision.budget, decision.budget_source) == (150, "router")
    assert decision.baseline_tokens == 240
    assert decision.draw is not None
    assert (decision.draw.arm, decision.routed) == ("treated", "medium")


def test_an_explicit_effort_wins_and_implies_its_budget() -> None:
    decision = decide({"reasoning_effort": "high"})
    assert (decision.effort, decision.source, decision.budget) == ("high", "request", 600)
    assert decision.draw is None


def test_an_explicit_budget_is_never_overwritten() -> None:
    decision = decide({"thinking_token_budget": 7})
    assert (decision.effort, decision.source) == ("medium", "router")
    assert (decision.budget, decision.budget_source) == (7, "request")
    assert decide({"thinking_token_budget": 5000}, max_budget=None).budget == 5000


def test_an_effort_that_the_model_lacks_maps_to_the_nearest() -> None:
    assert decide({"reasoning_effort": "max"}).effort == "high"
    assert decide({"reasoning_effort": "minimal"}).effort == "low"
    assert decide({"reasoning_effort": "none"}, efforts=("low", "high")).effort == "low"


def test_effort_none_has_a_budget_of_zero() -> None:
    decision = decide({"reasoning_effort": "none"})
    assert (decision.effort, decision.budget, decision.budget_source) == ("none", 0, "effort")


@pytest.mark.parametrize(
    ("requested", "caller", "effort", "source"),
    [
        ("high", Caller("k", effort_cap="low"), "low", "key"),
        ("none", Caller("k", effort_floor="medium"), "medium", "key"),
        ("medium", Caller("k", effort_floor="low", effort_cap="high"), "medium", "request"),
        ("auto", Caller("k", effort_cap="low"), "low", "router"),
        ("auto", Caller("k", effort_floor="high"), "high", "router"),
        ("auto", Caller("k", effort_floor="xhigh"), "high", "router"),
    ],
)
def test_a_key_caps_and_floors(requested: str, caller: Caller, effort: str, source: str) -> None:
    decision = decide({"reasoning_effort": requested}, caller)
    assert (decision.effort, decision.source) == (effort, source)


def test_the_lowest_effort_of_a_key_is_within_its_floor() -> None:
    decider = Decider(Settings(), ROUTED)
    for floor, lowest in ((None, "none"), ("low", "low"), ("high", "high")):
        caller = Caller("k", effort_floor=floor, max_budget=9)
        assert decider.lowest(caller) == replace(caller, effort_cap=lowest)


def test_the_baseline_of_a_capped_key_is_its_cap() -> None:
    record = RequestRecord("id", decision=decide({}, Caller("k", effort_cap="low")), closed_at=1.0)
    row = row_of(record)
    assert row is not None
    assert row["baseline"] == "low"
    assert set(json.loads(row["expected_tokens"])) == {"none", "low"}
    free = row_of(RequestRecord("id", decision=decide({}), closed_at=1.0))
    assert free is not None
    assert free["baseline"] == "high"
    assert set(json.loads(free["expected_tokens"])) == set(LADDER)


def test_a_key_caps_all_budgets() -> None:
    caller = Caller("k", max_budget=40)
    assert decide({}, caller).budget == 40
    explicit = decide({"thinking_token_budget": 100}, caller)
    assert (explicit.budget, explicit.budget_source) == (40, "key")


def test_without_an_artifact_the_router_abstains_to_the_baseline_effort() -> None:
    decision = decide(router=ABSTAINING)
    assert (decision.effort, decision.source) == ("high", "fallback")
    assert decision.abstained == "no router artifact"
    assert (decision.budget, decision.budget_source) == (None, "none")


@pytest.mark.parametrize(
    ("max_tokens", "budget"), [(1000, 600), (700, 444), (100, 50), (3, 1), (1, 0)]
)
def test_the_budget_leaves_the_answer_its_reserve(max_tokens: int, budget: int) -> None:
    decision = decide({"max_tokens": max_tokens, "reasoning_effort": "high"})
    assert decision.budget == budget


def test_the_context_bounds_the_budget_and_leaves_an_eighth_for_thinking() -> None:
    short_prompt = decide({"reasoning_effort": "high"}, router=ABSTAINING, context=1000)
    assert (short_prompt.budget, short_prompt.budget_source) == (744, "limit")
    messages = [user("word " * 2000)]
    long_prompt = decide({"messages": messages}, router=ABSTAINING, context=1000)
    assert long_prompt.budget == 62


def test_the_room_in_a_context_is_a_whole_number_of_tokens() -> None:
    decision = decide({"messages": [user("word " * 2000)]}, router=ABSTAINING, context=1004)
    assert (decision.budget, type(decision.budget)) == (62, int)


def test_an_explicit_budget_above_the_context_is_refused() -> None:
    assert decide({"thinking_token_budget": 1000}, context=1000).budget == 1000
    with pytest.raises(BadRequest, match="context of 1000") as refused:
        decide({"thinking_token_budget": 1001}, context=1000)
    assert refused.value.param == "thinking_token_budget"


@pytest.mark.parametrize(
    ("fields", "key", "server", "budget", "source", "limit"),
    [
        ({}, None, 90, 90, "limit", 90),
        ({}, None, 150, 150, "router", 150),
        ({"thinking_token_budget": 100}, None, 90, 90, "limit", 90),
        ({"thinking_token_budget": 100}, 80, 90, 80, "key", 80),
        ({"thinking_token_budget": 100}, 95, 90, 90, "limit", 90),
        ({"thinking_token_budget": 100}, 100, 100, 100, "request", 100),
        ({"thinking_token_budget": 100}, 120, None, 100, "request", 120),
        ({"thinking_token_budget": 100}, None, None, 100, "request", None),
    ],
)
def test_the_lowest_of_budget_and_limits_holds(
    fields: dict[str, Any],
    key: int | None,
    server: int | None,
    budget: int,
    source: str,
    limit: int | None,
) -> None:
    decision = decide(fields, Caller("k", max_budget=key), max_budget=server)
    assert (decision.budget, decision.budget_source) == (budget, source)
    assert decision.budget_limit == limit


def test_a_router_of_another_model_abstains() -> None:
    artifact = load(ROOT / "models" / "demo" / "router.json")
    router = Router(LADDER, "high", artifact)
    upstream = "http://127.0.0.1:1"
    request = parse({"messages": [user(STORY)]}, {})
    for settings, model, source in (
        (Settings(upstream=upstream), "demo", "router"),
        (Settings(upstream=upstream), "other", "fallback"),
        (Settings(), "renamed", "router"),
    ):
        decision = Decider(settings, router).decide(request, ANYONE, ModelInfo(model, None))
        assert decision.source == source
        assert (decision.effort == "high") == (source == "fallback")


def test_load_lowers_effort_and_budget() -> None:
    router = Router.load(ROOT / "models" / "demo" / "router.json")
    hard = next(story for story in stories(8) if story.difficulty == 10)
    fields = {"messages": [user(hard.prompt)]}
    idle = decide(fields, router=router, overload_requests=8)
    busy = decide(fields, router=router, load=Load(16), overload_requests=8, overload_price=50)
    assert (idle.pressure, busy.pressure) == (0.0, 1.0)
    assert LADDER.index(busy.effort) < LADDER.index(idle.effort)
    because = "The engine's load raises the price of thinking"
    assert re.fullmatch(rf"\w.+\w\. {because}", busy.reason)
    assert because not in idle.reason
    assert busy.budget < idle.budget
    off = decide(fields, router=router, load=Load(16))
    assert (off.effort, off.budget, off.pressure) == (idle.effort, idle.budget, 0.0)


def test_load_halves_the_router_s_budgets_but_not_those_of_explicit_efforts() -> None:
    full = {"load": Load(100), "overload_requests": 10}
    assert decide(**full).budget == 75
    assert decide({"reasoning_effort": "medium"}, **full).budget == 150
    assert decide({"thinking_token_budget": 90}, **full).budget == 90


def test_the_budget_policy_thinks_less_for_a_lower_target() -> None:
    router = Router.load(ROOT / "models" / "demo" / "router.json")
    fields = {"messages": [user(STORY)]}
    efforts = [
        decide(fields, router=router, policy="budget", tokens_per_request=tokens).effort
        for tokens in (500.0, 30.0, 0.5)
    ]
    assert efforts == sorted(efforts, key=LADDER.index, reverse=True)
    assert efforts[0] != efforts[-1] == "none"


class RecordingRouter(Scripted):
    """Also keeps the policies that it was given."""

    def route(
        self,
        messages: Any,
        allowed: Sequence[str] | None = None,
        policy: Policy | None = None,
        kind: str | None = None,
    ) -> Route:
        policies.append(policy)
        return super().route(messages, allowed, policy, kind)


policies: list[Policy | None] = []


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({}, Policy("quality", 0.01, 0.1, None, "high")),
        ({"max_loss": 0.05, "baseline_effort": "low"}, Policy("quality", 0.05, 0.1, None, "low")),
        ({"policy": "price", "price": 0.25}, Policy("price", 0.01, 0.25, None, "high")),
        (
            {"policy": "budget", "tokens_per_request": 90.0},
            Policy("budget", 0.01, 0.1, 90.0, "high"),
        ),
        ({"policy": "fixed", "baseline_effort": "low"}, Policy("fixed", 0.01, 0.1, None, "low")),
    ],
)
def test_the_router_gets_the_policy_of_the_settings(
    settings: dict[str, Any], policy: Policy
) -> None:
    decide(router=RecordingRouter(LADDER, settings.get("baseline_effort", "high")), **settings)
    assert policies.pop() == policy


def test_the_baseline_is_that_of_the_fit_unless_the_settings_name_one(tmp_path: Path) -> None:
    artifact = json.loads((ROOT / "models" / "demo" / "router.json").read_bytes())
    path = tmp_path / "router.json"
    path.write_text(json.dumps({**artifact, "baseline": "medium"}))
    settings = Settings(router=path)
    decider = Decider(settings, load_router(settings))
    request = parse({"messages": [user("What is the capital of France?")]}, {})
    decision = decider.decide(request, ANYONE, ModelInfo("demo", None))
    assert (decision.effort, decision.baseline_effort) == ("medium", "medium")
    with pytest.raises(ArtifactError, match="baseline_effort is high: make them agree"):
        load_router(Settings(router=path, baseline_effort="high"))


def test_a_decision_says_when_the_router_was_asked() -> None:
    before = time.perf_counter()
    began_at, ended_at = decide().routed_at or (0.0, 0.0)
    assert before <= began_at <= ended_at <= time.perf_counter()


def test_a_long_wait_for_the_first_token_is_load_too() -> None:
    assert decide(load=Load(0, 3.0), overload_ttft=2.0).pressure == 0.5


def test_a_key_that_excludes_all_efforts_of_the_model_gets_the_nearest() -> None:
    only = decide({}, Caller("k", effort_cap="low"), efforts=("high",))
    assert (only.effort, only.allowed) == ("high", ("high",))
    between = Caller("k", effort_floor="medium", effort_cap="xhigh")
    router = Scripted(("low", "max"), "max")
    decision = decide({}, between, router, efforts=("low", "max"), baseline_effort="max")
    assert decision.allowed == ("low",)


def test_a_router_without_an_artifact_abstains_in_front_of_an_upstream() -> None:
    decision = decide(router=ABSTAINING, upstream="http://127.0.0.1:1")
    assert decision.abstained == "no router artifact"


def test_the_reason_of_an_abstention_for_another_model() -> None:
    router = Router(LADDER, "high", load(ROOT / "models" / "demo" / "router.json"))
    decider = Decider(Settings(upstream="http://127.0.0.1:1"), router)
    request = parse({"messages": [user(STORY)]}, {})
    decision = decider.decide(request, ANYONE, ModelInfo("another", None))
    assert decision.abstained == "the router was fitted on another model"


def test_an_abstention_is_not_reported_where_the_client_chose() -> None:
    assert decide({"reasoning_effort": "low"}, router=ABSTAINING).abstained is None


def test_an_uncalibrated_estimate_is_marked() -> None:
    router = Router.portable(LADDER, "high")
    assert decide({"messages": [user(STORY)]}, router=router).calibrated is False
    assert decide().calibrated is True


@pytest.mark.parametrize(
    ("fields", "caller", "reason"),
    [
        ({"reasoning_effort": "low"}, ANYONE, "the request asks for low"),
        (
            {"reasoning_effort": "max"},
            ANYONE,
            "the request asks for max; the nearest effort of the model is high",
        ),
        (
            {"reasoning_effort": "high"},
            Caller("k", effort_cap="low"),
            "the request asks for high; its key 'k' limits it to low",
        ),
    ],
)
def test_the_reason_of_an_explicit_effort(
    fields: dict[str, Any], caller: Caller, reason: str
) -> None:
    decision = decide(fields, caller)
    assert decision.reason == reason
    assert decision.source == ("key" if caller.name == "k" else "request")


FOREIGN = {"messages": [user("What is the capital of France?")]}
TOLD_TO = {"messages": [{"role": "system", "content": "Be brief."}, user(STORY)]}


@pytest.mark.parametrize("fields", [FOREIGN, TOLD_TO])
@pytest.mark.parametrize(
    ("requested", "settings", "source"),
    [
        ({}, {}, "fallback"),
        ({"reasoning_effort": "high"}, {}, "request"),
        ({"reasoning_effort": "low"}, {}, "request"),
        ({"thinking_token_budget": 500}, {}, "fallback"),
        ({}, {"policy": "fixed"}, "router"),
        ({}, {"overload_requests": 1}, "fallback"),
    ],
)
def test_nothing_of_a_refused_estimate_is_used_or_told(
    fields: dict[str, Any], requested: dict[str, Any], settings: dict[str, Any], source: str
) -> None:
    router = Router.load(ROOT / "models" / "demo" / "router.json")
    decision = decide({**fields, **requested}, router=router, load=Load(9), **settings)
    assert (decision.source, decision.estimate) == (source, None)
    assert decision.budget == requested.get("thinking_token_budget")
    assert decision.baseline_tokens is None
    record = RequestRecord("id", decision=decision, closed_at=1.0)
    assert (record.expected_tokens, record.tops()["baseline_tokens"]) == (None, None)
    row = row_of(record)
    assert row is not None
    figures = ("p_correct", "expected_tokens", "baseline_tokens", "baseline_p_correct")
    assert [row[name] for name in figures] == [None] * 4
    names = {name for name, _ in decision_headers(decision)}
    assert not names & {b"x-tops-difficulty", b"x-tops-p-correct"}
    explanation = explain(parse(fields, {}), decision, Thread("0" * 32))
    assert [explanation[name] for name in ("difficulty", "p_correct", "tokens")] == [None] * 3


def test_a_later_turn_that_the_router_refuses_has_no_budget() -> None:
    router = Router.load(ROOT / "models" / "demo" / "router.json")
    decider = Decider(Settings(), router)
    talk: list[dict[str, Any]] = [user(STORY)]
    opened = decider.decide(parse({"messages": talk}, {}), ANYONE, SERVED)
    assert opened.source == "router"
    talk += [{"role": "assistant", "content": "35"}, user("Who wrote the play about Hamlet?")]
    later = decider.decide(parse({"messages": talk}, {}), ANYONE, SERVED)
    assert (later.effort, later.budget, later.estimate) == ("high", None, None)


def test_the_holdout_of_a_refused_prompt_has_no_estimate() -> None:
    router = Router.load(ROOT / "models" / "demo" / "router.json")
    decider = Decider(Settings(), router, Holdout(Shares(1.0), b"key"))
    thread = Thread("0" * 32)
    decision = decider.decide(parse(FOREIGN, {}), ANYONE, SERVED, thread=thread)
    assert (decision.source, decision.estimate, decision.budget) == ("holdout", None, None)
    assert decision.abstained
