"""Composite efforts at run time: a second attempt where the initial one hits its budget."""

import asyncio
import json
import sqlite3
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from composite_router import composite_artifact, composite_router
from polling import PATIENCE_SECONDS
from processes import Server, serving
from runaway_engine import RunawayEngine

from models.domain.stories import stories
from router.composite import Composite
from router.kind_offsets import NO_KINDS, KindOffsets
from router.router import Router
from server.api import chat
from server.api.chat import parse
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.conversations import Thread
from server.decide.decider import Decider
from server.decide.decision import Decision
from server.decide.enforcement import Enforcement
from server.decide.explain import explain
from server.decide.headers import decision_headers
from server.decide.holdout import Holdout, Shares
from server.endpoints import attempts
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, DIALECTS
from server.engines.engine import Engine
from server.engines.in_flight import InFlight
from server.engines.model_info import ModelInfo
from server.engines.usage import Usage, with_added
from server.errors import EngineFailed
from server.ledger.row import row_of
from server.ledger.turns import _effort as archived_effort
from server.lifecycle.record import RequestRecord
from server.lifecycle.request_metrics import RequestMetrics
from server.observe.metrics import Metrics
from server.openapi.responses import RouteExplanation, Tops

STOP = Composite("stop", "low", 8, "high")
CAP = Composite("cap", "high", 8, "low")
APIS = ("chat/completions", "responses", "messages")
EASY, HARD = "think=5 answer=4", "think=60 answer=4"
ANYONE = Caller()


def decide(
    fields: dict[str, Any] | None = None,
    composite: Composite = STOP,
    caller: Caller = ANYONE,
    thread: Thread | None = None,
    keeps: bool = True,
    holdout: float = 0.0,
    context: int = 4096,
    kinds: KindOffsets = NO_KINDS,
    **settings: Any,
) -> Decision:
    artifact = composite_artifact(composite)
    artifact = replace(artifact, parameters=replace(artifact.parameters, kinds=kinds))
    router = Router(("none", "low", "medium", "high"), "high", artifact)
    arms = Holdout(Shares(holdout), b"k")
    decider = Decider(Settings(upstream=("http://127.0.0.1:9",), **settings), router, arms)
    request = parse({"messages": [{"role": "user", "content": HARD}], **(fields or {})}, {})
    thread = thread or Thread("0" * 32)
    model = ModelInfo("demo", context)
    support = BudgetSupport("native", keeps, "measured")
    enforcement = Enforcement(request, support, DIALECTS["vllm"], CHAT)
    return decider.decide(request, caller, model, thread=thread, enforcement=enforcement)


@pytest.mark.unit
def test_a_decision_has_both_attempts() -> None:
    decision = decide()
    assert (decision.effort, decision.budget, decision.budget_source) == ("low", 8, "router")
    assert decision.final is not None
    assert (decision.final.effort, decision.final.routed, decision.final.final) == (
        "high",
        "high",
        None,
    )
    assert decision.choice == decision.final.choice == "stop:low@8:high"
    assert "low with at most 8 thinking tokens, then high" in decision.reason
    shown = explain(
        parse({"messages": [{"role": "user", "content": HARD}]}, {}), decision, Thread("")
    )
    assert RouteExplanation.model_validate(shown).composite is not None
    assert shown["composite"] == {
        "name": "stop:low@8:high",
        "kind": "stop",
        "initial": "low",
        "budget": 8,
        "final": "high",
    }


@pytest.mark.unit
@pytest.mark.parametrize(
    "differently",
    [
        {"fields": {"reasoning_effort": "high"}},
        {"fields": {"thinking_token_budget": 100}},
        {"fields": {"thinking_token_budget": -1}},
        {"fields": {"n": 2}},
        {"fields": {"max_tokens": 9}},
        {"caller": Caller("k", max_budget=500)},
        {"caller": Caller("k", effort_cap="medium")},
        {"max_budget": 500},
        {"thread": Thread("0" * 32, "history", "low")},
        {"keeps": False},
        {"effort_budgets": {"low": 5}},
        {"context": 20},
        {"holdout": 1.0},
        {"composites": False},
    ],
    ids="-".join,
)
def test_whoever_chooses_or_cannot_have_one_gets_an_effort(differently: dict[str, Any]) -> None:
    """Choices of client, key and server, a conversation's effort, and engines without budgets."""
    decision = decide(**differently)
    assert decision.composite is None
    assert decision.final is None
    assert decision.choice == decision.effort


@pytest.mark.unit
def test_a_composite_is_estimated_for_the_kind_of_the_request() -> None:
    decision = decide(caller=Caller("bot"), kinds=KindOffsets({"key:bot": np.zeros(10)}))
    assert decision.composite == STOP
    assert "It is of the kind key:bot" in decision.reason


@pytest.mark.unit
def test_a_conversation_goes_on_as_the_router_says_without_composites() -> None:
    decision = decide(thread=Thread("0" * 32, "history", "none"))
    assert (decision.source, decision.composite) == ("router", None)


@pytest.mark.unit
def test_the_holdout_keeps_what_the_router_chose() -> None:
    """The ledger needs it, to tell what another policy would have spent."""
    decision = decide(holdout=1.0)
    assert (decision.source, decision.effort, decision.choice) == ("holdout", "high", "high")
    record = RequestRecord("r", decision=decision, closed_at=9e9)
    row = row_of(record) or {}
    assert (row["effort"], row["routed"]) == ("high", "stop:low@8:high")
    assert archived_effort(row["routed"]) == "high"
    assert archived_effort("low") == "low"
    assert archived_effort("stop:of-a-newer-version") is None


@pytest.mark.unit
def test_efforts_that_are_budgets_of_one_mode_think_on_in_one_attempt() -> None:
    stop = decide(efforts_are_budgets=True)
    assert (stop.effort, stop.final, stop.choice) == ("high", None, "stop:low@8:high")
    assert stop.budget != 8
    cap = decide(composite=CAP, efforts_are_budgets=True)
    assert (cap.effort, cap.budget, cap.final) == ("high", 8, None)
    for decision in (stop, cap):
        assert decision.reason.endswith(
            ". It is one attempt at high, since the efforts are budgets of one mode"
        )


@pytest.mark.unit
def test_the_final_attempt_has_a_budget_of_its_own() -> None:
    final = decide().final
    assert final is not None
    assert (final.budget_source, final.effort_budget) == ("limit", None)
    assert final.budget is not None
    assert 3000 < final.budget < 4096, "what the context leaves"
    mapped = decide(effort_budgets={"high": 300}).final
    assert mapped is not None
    assert (mapped.budget, mapped.budget_source, mapped.effort_budget) == (300, "effort", 300)


@pytest.mark.unit
def test_both_attempts_are_counted_and_only_the_last_one_is_judged() -> None:
    record = RequestRecord("r", decision=decide(), model="m", closed_at=9e9)
    record.record_usage(Usage(10, 12, 8))
    assert record.budget_hit
    record.begin_final_attempt()
    tops = record.record_usage(Usage(10, 64, 60))
    assert (tops["effort"], tops["thinking_tokens"], tops["budget_hit"]) == ("high", 68, False)
    assert (tops["composite"], tops["attempts"]) == ("stop:low@8:high", 2)
    assert Tops.model_validate(tops).attempts == 2
    assert record.usage == Usage(20, 76, 68)
    assert record.record_usage(Usage(10, 64, 60)) == tops  # a stream may report it several times
    row = row_of(record) or {}
    assert (row["effort"], row["routed"]) == ("stop:low@8:high", "stop:low@8:high")
    assert (row["prompt_tokens"], row["thinking_tokens"], row["answer_tokens"]) == (20, 68, 8)
    assert set(
        json.loads(row["p_correct"]) if isinstance(row["p_correct"], str) else row["p_correct"]
    ) > {"stop:low@8:high"}
    metrics = Metrics()
    RequestMetrics(metrics).count(record)
    exposition = metrics.exposition()[0].decode()
    for line in (
        'tops_composites_total{kind="stop",model="m"} 1.0',
        'tops_final_attempts_total{kind="stop",model="m"} 1.0',
        'tops_discarded_thinking_tokens_total{kind="stop",model="m"} 8.0',
        'tops_thinking_tokens_total{effort="stop:low@8:high",model="m",source="router"} 68.0',
    ):
        assert line in exposition


@pytest.mark.unit
def test_usage_of_every_api_adds_up() -> None:
    more = Usage(10, 12, 8)
    details = {"completion_tokens_details": {"reasoning_tokens": 60, "audio_tokens": 0}}
    usage = {"prompt_tokens": 10, "completion_tokens": 64, "total_tokens": 74, **details}
    added = with_added(usage, more)
    assert (added["prompt_tokens"], added["completion_tokens"], added["total_tokens"]) == (
        20,
        76,
        96,
    )
    assert added["completion_tokens_details"] == {"reasoning_tokens": 68, "audio_tokens": 0}
    assert usage["prompt_tokens"] == 10
    response = {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {}}
    assert with_added(response, more) == {
        "input_tokens": 11,
        "output_tokens": 14,
        "output_tokens_details": {},
    }
    assert with_added(None, more) is None


@pytest.mark.unit
def test_headers_do_not_name_an_attempt_that_is_not_known_yet() -> None:
    decision = decide()
    assert decision.final is not None
    early = dict(decision_headers(decision, None))
    assert b"x-tops-effort" not in early
    assert not {b"x-tops-budget", b"x-tops-budget-source"} & early.keys()
    assert early[b"x-tops-composite"] == b"stop:low@8:high"
    late = dict(decision_headers(decision.final, 2))
    assert (late[b"x-tops-effort"], late[b"x-tops-attempts"]) == (b"high", b"2")


class _Reply:
    """A stream that never ends, or ends in an error."""

    status, is_stream, retry_after, cut = 200, True, None, None

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure, self.closed = failure, False

    async def begin(self) -> None: ...

    async def next_chunk(self) -> bytes:
        return b'data: {"choices": []}\n\n'

    async def stream_to(self, sink: Any) -> None:
        if self.failure:
            raise self.failure
        await asyncio.Event().wait()

    async def read(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        self.closed = True


def in_flight_of(reply: _Reply) -> tuple[InFlight, list[Exception]]:
    failures: list[Exception] = []
    engine = Engine("http://127.0.0.1:9", None, 1.0)
    return InFlight(engine, cast("Any", reply), lambda _, error: failures.append(error)), failures


@pytest.mark.unit
def test_a_client_that_leaves_stops_the_initial_attempt() -> None:
    async def leave() -> None:
        reply = _Reply()
        in_flight, failures = in_flight_of(reply)
        record = RequestRecord("r", decision=decide())
        request = parse({"messages": [{"role": "user", "content": "x"}], "stream": True}, {})
        task = asyncio.create_task(attempts.is_answer(in_flight, chat, record, request))
        await asyncio.sleep(0.01)
        assert in_flight.engine.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reply.closed
        assert (in_flight.engine.in_flight, failures) == (0, [])

    asyncio.run(leave())


@pytest.mark.unit
def test_an_engine_that_fails_in_the_initial_attempt_fails_the_request() -> None:
    async def fail() -> None:
        in_flight, failures = in_flight_of(_Reply(EngineFailed("gone")))
        record = RequestRecord("r", decision=decide())
        request = parse({"messages": [{"role": "user", "content": "x"}], "stream": True}, {})
        with pytest.raises(EngineFailed):
            await attempts.is_answer(in_flight, chat, record, request)
        assert len(failures) == 1

    asyncio.run(fail())


@pytest.mark.unit
def test_a_stream_that_waits_begins_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "HEARTBEAT_SECONDS", 0.01)
    sent: list[dict[str, Any]] = []

    several = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 2:
            several.set()

    async def wait() -> None:
        record = RequestRecord("r", decision=decide())
        async with asyncio.timeout(PATIENCE_SECONDS), attempts.heartbeat(record, chat, send):
            await several.wait()
        assert record.head_sent
        assert record.first_byte_at is None
        task = asyncio.create_task(_interrupted(record))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert b"stopping" in sent[-1]["body"]

    async def _interrupted(record: RequestRecord) -> None:
        async with attempts.heartbeat(record, chat, send):
            await asyncio.Event().wait()

    asyncio.run(wait())
    assert sent[0]["type"] == "http.response.start"
    headers = dict(sent[0]["headers"])
    assert headers[b"x-tops-composite"] == b"stop:low@8:high"
    assert all(message["body"].startswith(b": ") for message in sent[1:-1])


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "ledger.db"


@pytest.fixture(scope="module")
def gateway(
    obedient_engine: RunawayEngine, ledger: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Server]:
    router = composite_router(tmp_path_factory.mktemp("router") / "router.json", STOP, "runaway")
    flags = (
        "--upstream",
        obedient_engine.url,
        "--router",
        router,
        "--ledger",
        f"sqlite:///{ledger}",
    )
    with serving(*flags, "--dialect", "llama.cpp") as gateway:
        (state,) = httpx.get(f"{gateway.url}/ready").json()["engines"]
        assert state["budgets"] == "native"
        yield gateway


def post(
    gateway: Server, api: str, script: str, stream: bool = False, **more: Any
) -> httpx.Response:
    body: dict[str, Any] = {"model": "runaway", "stream": stream, **more}
    if api == "responses":
        body["input"] = script
    else:
        body |= {"messages": [{"role": "user", "content": script}]}
    if api == "messages":
        body["max_tokens"] = 1000
    if api == "chat/completions" and stream:
        body["stream_options"] = {"include_usage": True}
    return httpx.post(f"{gateway.url}/v1/{api}", json=body, timeout=30)


def last_objects(response: httpx.Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `tops` object and the usage of an answer, streamed or not."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        body = response.json()
        return body["tops"], body["usage"]
    tops, usage = {}, {}
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            fields = event.get("response") or event.get("message") or event
            tops = fields.get("tops") or tops
            usage |= fields.get("usage") or {}
    return tops, usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_the_client_gets_one_attempt_and_pays_for_both(
    obedient_engine: RunawayEngine, gateway: Server, api: str, stream: bool
) -> None:
    """Thinking tokens that the engine does not report are counted by its tokenizer."""
    is_repeated = api == "responses" and stream  # its last event has the whole response
    obedient_engine.bodies.clear()
    easy = post(gateway, api, EASY, stream)
    tops, usage = last_objects(easy)
    assert len(obedient_engine.bodies) == 1
    assert (tops["effort"], tops["attempts"], tops["budget"]) == ("low", 1, 8)
    assert (tops["thinking_tokens"], tops["budget_hit"]) == (5, False)
    assert easy.headers["x-tops-effort"] == "low"
    assert easy.headers["x-tops-attempts"] == "1"
    obedient_engine.bodies.clear()
    hard = post(gateway, api, HARD, stream)
    tops, usage = last_objects(hard)
    budgets = [json.dumps(body) for body in obedient_engine.bodies]
    assert len(budgets) == 2
    assert "low" in budgets[0]
    assert "high" in budgets[1]
    assert (tops["effort"], tops["attempts"], tops["composite"]) == ("high", 2, STOP.name)
    completion = usage.get("completion_tokens", usage.get("output_tokens"))
    assert completion == (8 + 4) + (60 + 4)
    assert usage.get("prompt_tokens", usage.get("input_tokens")) == 20
    assert tops["thinking_tokens"] == 68
    assert hard.text.count("w ") == 64 + (60 if api == "chat/completions" else 64 * is_repeated)
    assert hard.headers["x-tops-effort"] == "high"
    assert hard.headers["x-tops-composite"] == STOP.name
    assert hard.headers["x-tops-attempts"] == "2"


def test_tools_and_later_turns(obedient_engine: RunawayEngine, gateway: Server) -> None:
    obedient_engine.bodies.clear()
    answer = post(gateway, "chat/completions", f"{HARD} call").json()
    assert answer["choices"][0]["message"]["tool_calls"]
    assert len(obedient_engine.bodies) == 2
    messages = [
        {"role": "user", "content": f"{HARD} once"},
        post(gateway, "chat/completions", f"{HARD} once").json()["choices"][0]["message"],
        {"role": "user", "content": "think=60 and on"},
    ]
    obedient_engine.bodies.clear()
    later = post(gateway, "chat/completions", "", messages=messages)
    assert (len(obedient_engine.bodies), later.headers["x-tops-effort"]) == (1, "high")
    assert "composite" not in later.json()["tops"]


def test_the_ledger_has_both_attempts(gateway: Server, ledger: Path) -> None:
    response = post(gateway, "chat/completions", HARD)
    row: Any = None
    for _ in range(100):
        with closing(sqlite3.connect(ledger)) as database:
            row = database.execute(
                "SELECT effort, routed, arm, prompt_tokens, thinking_tokens, answer_tokens "
                "FROM requests WHERE request_id = ?",
                [response.headers["x-request-id"]],
            ).fetchone()
        if row:
            break
        asyncio.run(asyncio.sleep(0.05))
    assert row == (STOP.name, STOP.name, "treated", 20, 68, 8)


def test_the_embedded_engine_answers_at_either_attempt(tmp_path: Path) -> None:
    """On real stories: the short ones stay within the budget, long ones are solved at `high`."""
    composite = Composite("stop", "low", 12, "high")
    texts = {
        story.difficulty: story.prompt for story, _ in zip(stories(3), range(200), strict=False)
    }
    with serving("--router", composite_router(tmp_path / "router.json", composite)) as server:
        outcomes = {}
        for difficulty in (min(texts), max(texts)):
            body = {"messages": [{"role": "user", "content": texts[difficulty]}]}
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30).json()
            outcomes[difficulty] = answer["tops"]
            usage = answer["usage"]["completion_tokens_details"]["reasoning_tokens"]
            assert usage == answer["tops"]["thinking_tokens"]
        shown = httpx.post(f"{server.url}/v1/route", json=body).json()
    easy, hard = outcomes[min(texts)], outcomes[max(texts)]
    assert (easy["effort"], easy["attempts"]) == ("low", 1)
    assert (hard["effort"], hard["attempts"]) == ("high", 2)
    assert hard["thinking_tokens"] > 12 + easy["thinking_tokens"]
    assert shown["composite"]["name"] == composite.name
