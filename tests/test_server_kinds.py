"""Kinds of traffic at run time: what a request shows, and where the gateway names it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from router.artifact import load
from router.kind import system_kind
from router.kind_offsets import KindOffsets
from router.policy import Policy
from router.router import DEFAULT_POLICY, Route, Router
from server.api import chat, messages, responses
from server.api.request import ParsedRequest
from server.api.served_model import for_model
from server.api_keys import Caller
from server.config.kind_settings import KindSettings
from server.config.settings import Settings
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.headers import decision_headers
from server.decide.kind import Kinds, unreachable
from server.engines.dialect import CHAT
from server.engines.model_info import ModelInfo
from server.ledger.row import row_of
from server.lifecycle.record import RequestRecord

SYSTEM = "You are a helpful assistant.\nToday is 2026-11-28."
HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
MODEL = ModelInfo("demo", None, aliases=("support",))
BOT = Caller("bot")


def parse(**fields: Any) -> ParsedRequest:
    return chat.parse({"messages": HI, **fields}, {})


EVERYTHING = parse(
    messages=[{"role": "system", "content": SYSTEM}, *HI],
    model="support:low",
    tools=[{"type": "function"}],
    response_format=SCHEMA,
)
HASH = str(system_kind(SYSTEM))
ALL_SOURCES = [HASH, "key:bot", "model:support", "tools", "json"]


def test_a_request_shows_its_sources_from_the_most_specific_on() -> None:
    assert Kinds().sources(EVERYTHING, BOT, MODEL) == ALL_SOURCES
    assert Kinds().sources(parse(), BOT, MODEL) == ["key:bot"]


@pytest.mark.parametrize("known", range(5))
def test_the_most_specific_kind_that_the_router_knows_is_taken(known: int) -> None:
    kinds = Kinds((), [None, *ALL_SOURCES[known:], "other"])
    for _ in range(2):  # the hash is remembered
        assert kinds.find(EVERYTHING, BOT, MODEL) == ALL_SOURCES[known]
    assert kinds.find(parse(), Caller("else"), MODEL) is None


class KindRouter(Router):
    """Says of which kind a request is."""

    def route(
        self,
        messages: object,
        allowed: Sequence[str] | None = None,
        policy: Policy = DEFAULT_POLICY,
        kind: str | None = None,
        composites: bool = False,
    ) -> Route:
        return Route(self.baseline, None, f"of the kind {kind}")


@pytest.mark.parametrize("kind", ALL_SOURCES)
def test_a_decision_is_of_the_kind_that_its_router_was_fitted_on(kind: str) -> None:
    demo = load(ROOT / "models" / "demo" / "router.json")
    kinds = KindOffsets({kind: np.zeros(2 * len(demo.efforts))})
    fitted = replace(demo, parameters=replace(demo.parameters, kinds=kinds))
    decider = Decider(Settings(), KindRouter(demo.efforts, demo.baseline, fitted))
    decision = decider.decide(EVERYTHING, BOT, MODEL)
    assert (decision.kind, decision.reason) == (kind, f"of the kind {kind}")
    assert decider.decide(parse(), Caller("else"), MODEL).reason == "of the kind None"


def test_a_decision_is_of_the_kind_that_the_settings_name() -> None:
    settings = Settings.model_validate({"kinds": [{"name": "support", "match": ["json"]}]})
    decider = Decider(settings, Router.without_artifact(("low", "high"), "high"))
    assert decider.decide(parse(response_format=SCHEMA), BOT, MODEL).kind == "support"


@pytest.mark.parametrize(
    ("fitted", "kind"),
    [
        (["support"], "support"),
        (["key:bot"], "key:bot"),
        (["support", "key:bot"], "support"),
        (["tools"], "tools"),
        ([], "support"),
        (["else"], "support"),
    ],
)
def test_a_name_of_the_settings_stands_for_what_shows_it(fitted: list[str], kind: str) -> None:
    settings = [KindSettings(name="support", match=("key:bot", "json"))]
    assert Kinds(settings, fitted).find(EVERYTHING, BOT, MODEL) == kind


@pytest.mark.parametrize(
    "request_",
    [
        responses.parse({"input": "hi", "tools": [{}], "text": {"format": SCHEMA}}, {}),
        messages.parse({"messages": HI, "tools": [{}], "output_format": SCHEMA}, {}),
        messages.parse({"messages": HI, "tools": [{}], "output_config": {"format": SCHEMA}}, {}),
        parse(functions=[{}], response_format={"type": "json_object"}),
    ],
)
def test_tools_and_formats_of_every_api_are_seen(request_: ParsedRequest) -> None:
    assert Kinds().sources(request_, BOT, MODEL)[1:] == ["tools", "json"]


def test_the_system_prompt_of_every_api_has_the_same_hash() -> None:
    requests = [
        responses.parse({"input": "hi", "instructions": SYSTEM}, {}),
        messages.parse({"messages": HI, "system": [{"type": "text", "text": SYSTEM}]}, {}),
        parse(messages=[{"role": "developer", "content": SYSTEM.upper()}, *HI]),
    ]
    assert [Kinds().sources(request, BOT, MODEL)[0] for request in requests] == [HASH] * 3


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, [None], {"type": []}, {"type": {}}, True])
def test_odd_fields_show_nothing_and_raise_nothing(odd: object) -> None:
    body = {"messages": HI, "response_format": odd, "text": {"format": odd}, "output_format": odd}
    request = chat.parse({**body, "output_config": {"format": odd}, "functions": odd}, {})
    sources = Kinds().sources(request, BOT, MODEL)
    assert set(sources) <= {"key:bot", "tools"}
    lone = parse(messages=[{"role": "system", "content": "\ud800\0" * 20_000}, *HI])
    assert Kinds((), ["system:" + "0" * 32]).find(lone, BOT, MODEL) is None


def test_many_system_prompts_are_not_all_remembered() -> None:
    kinds = Kinds((), ["system:" + "0" * 32])
    for number in range(3000):
        system = [{"role": "system", "content": "a" * number}]
        kinds.find(parse(messages=[*system, *HI]), BOT, MODEL)
    assert len(kinds._system_kinds) <= 1024  # pyright: ignore[reportPrivateUsage]


def test_remembered_system_prompts_have_each_their_own_kind() -> None:
    prompts = ["You are terse.", "You are verbose."]
    hashes = [str(system_kind(prompt)) for prompt in prompts]
    kinds = Kinds((), hashes)
    for _ in range(2):
        for prompt, kind in zip(prompts, hashes, strict=True):
            request = parse(messages=[{"role": "system", "content": prompt}, *HI])
            assert kinds.find(request, Caller("else"), MODEL) == kind


def test_an_alias_may_have_an_effort_behind_it() -> None:
    assert for_model(parse(model="support:low"), MODEL, CHAT).effort == "low"
    assert for_model(parse(model="support"), MODEL, CHAT).effort is None
    assert MODEL.base_name("demo:low") == "demo"
    assert MODEL.base_name("other:low") == "other:low"


@pytest.mark.parametrize(
    ("kinds", "problem"),
    [
        ([{"name": "a", "match": []}], "at least 1 item"),
        ([{"name": "a", "match": ["team:x"]}], "shows no kind"),
        ([{"name": "a", "match": ["system:abc"]}], "32 hexadecimal digits"),
        ([{"name": "a\n", "match": ["tools"]}], "printable"),
        ([{"name": "a", "match": ["key:nobody"]}], "no key has this name"),
        ([{"name": "a", "match": ["tools"]}, {"name": "a", "match": ["json"]}], "the same name"),
        (
            [{"name": "a", "match": ["tools"]}, {"name": "b", "match": ["tools"]}],
            "cannot show both",
        ),
    ],
)
def test_unusable_kinds_are_refused(kinds: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Settings.model_validate({"kinds": kinds})


def test_kinds_that_no_request_can_show_are_said() -> None:
    key = {"name": "bot", "sha256": "0" * 64}
    kind = {"name": "chat", "match": ["key:bot"]}
    settings = Settings.model_validate({"keys": [key], "kinds": [kind], "aliases": "fast"})
    reachable = [None, "chat", "key:bot", "model:fast", "model:any", "tools", "json", HASH]
    assert unreachable(settings, [*reachable, "key:else", "mathematics"]) == [
        "key:else",
        "mathematics",
    ]
    named = settings.model_copy(update={"model": "m"})
    assert unreachable(named, ["model:m", "model:any"]) == ["model:any"]


def test_the_kind_is_in_the_headers_and_in_the_ledger() -> None:
    kind = "Rätsel\r\nx: 数学" + "x" * 200
    decision = Decision("low", "router", None, "none", "why", None, None, "high", kind=kind)
    (header,) = [value for name, value in decision_headers(decision) if name == b"x-tops-kind"]
    assert header.startswith("Rätselx: ??".encode("latin-1"))
    row = row_of(RequestRecord("id", decision=decision, closed_at=1.0))
    assert row is not None
    assert row["kind"] == kind[:128]
