"""Thinking that used up its room still ends in an answer: every API, streamed or not."""

import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from polling import until
from processes import Server, serving
from runaway_engine import RunawayEngine, runaway_engine

from server.endpoints.empty_answers import empty_answers

ENDLESS = "think=100000 answer=30"
APIS = ("chat", "responses", "messages")


class Answer:
    """What a client got: the answer's text, why it ended, its tokens, and its thoughts' text."""

    def __init__(self, api: str, response: httpx.Response) -> None:
        assert response.status_code == 200, response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            lines = response.text.splitlines()
            events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
            assert not any("error" in (*event, event.get("type")) for event in events), events
            getattr(self, f"_{api}_events")(events)
        else:
            getattr(self, f"_{api}")(response.json())

    def _chat(self, body: dict[str, Any]) -> None:
        (choice, *_), usage = body["choices"], body["usage"]
        self.text = choice["message"]["content"] or ""
        self.calls = choice["message"].get("tool_calls") or []
        self.thoughts = choice["message"]["reasoning"] or ""
        self.finish, self.prompt = choice["finish_reason"], usage["prompt_tokens"]
        self.spent = usage["completion_tokens"]
        assert usage.get("total_tokens", self.prompt + self.spent) == self.prompt + self.spent

    def _chat_events(self, events: list[dict[str, Any]]) -> None:
        choices = [choice for event in events for choice in event["choices"]]
        message: dict[str, Any] = {
            name: "".join(choice["delta"].get(name) or "" for choice in choices)
            for name in ("content", "reasoning")
        }
        message["tool_calls"] = [call for c in choices for call in c["delta"].get("tool_calls", [])]
        (finish,) = [c["finish_reason"] for c in choices if c.get("finish_reason")]
        (usage,) = [event["usage"] for event in events if event.get("usage")]
        assert len({event["id"] for event in events}) == 1
        self._chat({"choices": [{"message": message, "finish_reason": finish}], "usage": usage})

    def _responses(self, body: dict[str, Any]) -> None:
        texts = {"reasoning": "", "message": ""}
        self.calls = [item for item in body["output"] if item["type"] == "function_call"]
        for item in body["output"]:
            if item["type"] in texts:
                texts[item["type"]] += "".join(part["text"] for part in item["content"])
        self.text, self.thoughts = texts["message"], texts["reasoning"]
        finish = "length" if body["status"] == "incomplete" else "stop"
        self.finish, self.spent = finish, body["usage"]["output_tokens"]
        self.prompt = body["usage"]["input_tokens"]

    def _responses_events(self, events: list[dict[str, Any]]) -> None:
        self._responses(events[-1]["response"])
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        deltas = [event for event in events if "delta" in event]
        text = "".join(event["delta"] for event in deltas if "output_text" in event["type"])
        assert text == self.text
        added = [event for event in events if event["type"] == "response.output_item.added"]
        assert [event["output_index"] for event in added] == list(range(len(added)))
        assert events[0]["response"]["id"] == events[-1]["response"]["id"]

    def _messages(self, body: dict[str, Any]) -> None:
        blocks = body["content"]
        self.text = "".join(block.get("text") or "" for block in blocks)
        self.calls = [block for block in blocks if block["type"] == "tool_use"]
        self.thoughts = "".join(block.get("thinking") or "" for block in blocks)
        self.finish = "length" if body["stop_reason"] == "max_tokens" else "stop"
        self.spent, self.prompt = body["usage"]["output_tokens"], body["usage"]["input_tokens"]

    def _messages_events(self, events: list[dict[str, Any]]) -> None:
        blocks = [{**e["content_block"]} for e in events if e["type"] == "content_block_start"]
        for event in events:
            for name in ("text", "thinking"):
                if name in event.get("delta", {}):
                    blocks[event["index"]][name] += event["delta"][name]
        (last,) = [event for event in events if event["type"] == "message_delta"]
        assert [event["type"] for event in events].count("message_start") == 1
        stops = [event for event in events if event["type"] == "content_block_stop"]
        assert [event["index"] for event in stops] == list(range(len(blocks)))
        usage = events[0]["message"]["usage"] | last["usage"]
        reason = last["delta"]["stop_reason"]
        self._messages({"content": blocks, "stop_reason": reason, "usage": usage})


def ask(
    gateway: Server, api: str, script: str, limit: int | None, stream: bool, **fields: Any
) -> Answer:
    body: dict[str, Any] = {"model": "runaway", "stream": stream, **fields}
    if api == "responses":
        body |= {"input": script, "max_output_tokens": limit}
    else:
        body |= {"messages": [{"role": "user", "content": script}], "max_tokens": limit}
    if api == "chat" and stream:
        body["stream_options"] = {"include_usage": True}
    path = "chat/completions" if api == "chat" else api
    return Answer(api, httpx.post(f"{gateway.url}/v1/{path}", json=body, timeout=60))


def empty_count(gateway: Server) -> float:
    lines = httpx.get(f"{gateway.url}/metrics").text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("tops_empty_answers_total")
    )


BEHAVIOURS: dict[str, dict[str, Any]] = {
    "ignores": {},
    "ignores large ones": {"obeys": 64},
    "reports nothing": {"reports_thinking": False, "running_usage": False},
    "uncounted": {"running_usage": False, "tokens_per_chunk": 3, "tokenizes": False},
}
STATES = ("two-phase", "native", "two-phase", "two-phase, unproven")


@pytest.fixture(scope="module")
def engine() -> Generator[RunawayEngine]:
    with runaway_engine() as engine:
        yield engine


@pytest.fixture(scope="module", params=BEHAVIOURS)
def gateway(request: pytest.FixtureRequest, engine: RunawayEngine) -> Generator[Server]:
    """A gateway in front of an engine that breaks budgets, in each of these ways."""
    with engine.behaving(**BEHAVIOURS[request.param]), serving("--upstream", engine.url) as gateway:
        (state,) = httpx.get(f"{gateway.url}/ready").json()["engines"]
        states = dict(zip(BEHAVIOURS, STATES, strict=True))
        assert (state["budgets"], state["continues"]) == (states[request.param], True)
        yield gateway


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_thinking_that_used_up_its_room_ends_in_an_answer(
    gateway: Server, api: str, stream: bool
) -> None:
    """The small ones first: an engine that breaks a large budget is not trusted after it."""
    limits_exceeded = 0
    for limit in (1, 2, 8, 50, 300):
        for script in (ENDLESS, "think=9 stop"):
            answer = ask(gateway, api, script, limit, stream)
            assert answer.text.strip(), (limit, script)
            if answer.spent > limit:  # the first budget that an engine breaks
                assert answer.spent <= limit + 75 and gateway.logged("budget ignored", 5)
                limits_exceeded += 1
            assert answer.prompt == 10 or limit == 1
            words = len(answer.text.split())
            assert answer.finish == "stop" or answer.spent >= limit
            assert words <= 30
    calls = ask(gateway, api, "think=100000 call answer=5", 300, stream)
    assert calls.calls and not calls.text
    assert limits_exceeded <= 1
    assert empty_count(gateway) == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_an_answer_that_needs_all_of_max_tokens_gets_them(
    gateway: Server, api: str, stream: bool
) -> None:
    answer = ask(gateway, api, "think=40 answer=500", 300, stream)
    assert answer.spent == 300
    assert len(answer.text.split()) == 260
    assert answer.finish == "length"
    assert len(answer.thoughts.split()) == 40


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_a_request_that_is_fine_is_one_request(
    gateway: Server, engine: RunawayEngine, api: str, stream: bool
) -> None:
    engine.bodies.clear()
    answer = ask(gateway, api, "think=20 answer=50", 300, stream)
    assert (answer.spent, answer.finish) == (70, "stop")
    assert len(engine.bodies) == 1


def test_an_answer_that_begins_again_with_its_beginning_is_no_echo(gateway: Server) -> None:
    answer = ask(gateway, "responses", "think=0 answer=22", 2, stream=True)
    assert (answer.text, answer.spent) == ("w w ", 2)


def test_thoughts_that_the_last_event_does_not_repeat_end_in_an_answer(
    gateway: Server, engine: RunawayEngine
) -> None:
    with engine.behaving(repeats_output=False):
        for limit in (2, 8, 300):
            answer = ask(gateway, "responses", ENDLESS, limit, stream=True)
            assert answer.text.strip() and answer.thoughts.strip(), limit
            assert answer.spent <= limit
    assert empty_count(gateway) == 0


def test_several_choices_are_each_continued(gateway: Server) -> None:
    body = {"messages": [{"role": "user", "content": ENDLESS}], "max_tokens": 200, "n": 3}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60).json()
    contents = [choice["message"]["content"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert all(content and content.strip() for content in contents)
    assert empty_count(gateway) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_context_has_room_for_the_answer(gateway: Server, stream: bool) -> None:
    answer = ask(gateway, "chat", ENDLESS, None, stream)
    assert answer.text.strip()
    assert answer.finish == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_both_requests_are_booked_where_the_second_breaks(
    gateway: Server, engine: RunawayEngine, stream: bool
) -> None:
    body = {"messages": [{"role": "user", "content": ENDLESS}], "max_tokens": 200}
    engine.bodies.clear()
    with engine.behaving(breaks=True):
        body |= {"model": "runaway", "stream": stream, "thinking_token_budget": 40}
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
    request_id = answer.headers["x-request-id"]
    assert gateway.logged(f'"request_id":"{request_id}"')
    (line,) = [json.loads(line) for line in gateway.lines if f'"request_id":"{request_id}"' in line]
    assert line["thinking_tokens"] is not None and 20 <= line["thinking_tokens"] <= 200
    if stream and len(engine.bodies) > 1:  # else the engine has kept the budget
        assert (line["status"], "error" in answer.text) == (502, True)
        assert line["prompt_tokens"] in (0, 10)


def test_an_engine_that_cannot_continue_is_reported_and_its_empty_answers_are_counted(
    engine: RunawayEngine,
) -> None:
    with (
        engine.behaving(continues=False, reports_thinking=False, running_usage=False),
        serving("--upstream", engine.url) as gateway,
    ):
        (state,) = httpx.get(f"{gateway.url}/ready").json()["engines"]
        assert state["continues"] is False
        until(lambda: any("engine up" in one and "continues" in one for one in gateway.lines))
        for api in APIS:
            for stream in (False, True):
                assert not ask(gateway, api, ENDLESS, 200, stream).text
                assert ask(gateway, api, "think=5 answer=5", 200, stream).text
                assert ask(gateway, api, "think=5 call answer=5", 200, stream).calls
        ask(gateway, "chat", "think=5 stop", 200, True)
        metrics = httpx.get(f"{gateway.url}/metrics").text
        assert 'tops_empty_answers_total{cause="max_tokens",model="runaway"} 6.0' in metrics
        assert 'tops_empty_answers_total{cause="stop",model="runaway"} 1.0' in metrics


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ({"choices": [{"message": {"content": "5"}}]}, 0),
        ({"choices": [{"message": {"content": " \n"}}, {"message": {"content": None}}]}, 2),
        ({"choices": [{"message": {"content": "", "tool_calls": [{}]}}, {}]}, 1),
        ({"output": [{"type": "reasoning"}]}, 1),
        ({"output": [{"type": "reasoning"}, {"type": "function_call"}]}, 0),
        ({"output": [{"type": "message", "content": [{"text": "5"}]}]}, 0),
        ({"output": [{"type": "message", "content": []}, None]}, 1),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": ""}]}, 1),
        ({"content": [{"type": "tool_use"}]}, 0),
        ({}, 0),
    ],
)
def test_a_choice_without_text_and_without_a_tool_s_call_is_empty(
    answer: dict[str, Any], count: int
) -> None:
    assert empty_answers(answer) == count
