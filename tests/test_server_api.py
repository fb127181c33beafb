"""Responses and Messages: parsing a request, the body for the engine, `tops` in a stream."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from router.conversation import in_tool_loop
from server.api import messages, responses
from server.api.relay import Relay
from server.api.response_relays import MessagesRelay, ResponsesRelay
from server.engines.dialect import DIALECTS
from server.engines.usage import Usage
from server.errors import BadRequest, EngineFailed

HI = [{"role": "user", "content": "hi"}]
VLLM = DIALECTS["vllm"]
BUDGET = "thinking.budget_tokens"


def test_the_input_of_responses_is_a_conversation() -> None:
    body = {
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "look it up"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "found"},
        ],
    }
    conversation = responses.parse(body, {}).conversation
    assert conversation.unreadable is None
    assert [turn.role for turn in conversation.turns] == [
        "system",
        "user",
        "assistant",
        "assistant",
        "tool",
    ]
    assert [turn.text for turn in conversation.turns][:2] == ["be brief", "look it up"]
    assert in_tool_loop(conversation)
    (turn,) = responses.parse({"input": "hi"}, {}).conversation.turns
    assert (turn.role, turn.text) == ("user", "hi")


@pytest.mark.parametrize(
    ("fields", "effort", "budget"),
    [
        ({}, None, None),
        ({"reasoning": {"effort": "low"}}, "low", None),
        ({"reasoning": {"summary": "auto"}}, None, None),
        ({"reasoning": {"effort": "auto"}}, None, None),
        ({"thinking_token_budget": 9}, None, 9),
    ],
)
def test_effort_and_budget_of_responses(
    fields: dict[str, Any], effort: str | None, budget: int | None
) -> None:
    request = responses.parse({"input": "hi", **fields}, {})
    assert (request.effort, request.budget) == (effort, budget)


def test_the_body_of_responses_for_the_engine() -> None:
    body = {"input": "hi", "reasoning": {"effort": "auto", "summary": "auto"}, "unread": [1]}
    written = responses.write(responses.parse(body, {}), "low", None, "m", VLLM)
    reasoning = {"effort": "low", "summary": "auto"}
    assert written == {"input": "hi", "reasoning": reasoning, "unread": [1], "model": "m"}
    assert body["reasoning"] == {"effort": "auto", "summary": "auto"}


def test_messages_has_a_system_prompt_and_content_blocks() -> None:
    body = {
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": "look it up"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I look", "signature": "s"},
                    {"type": "tool_use", "id": "t", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "found"}],
            },
        ],
        "max_tokens": 500,
    }
    request = messages.parse(body, {})
    conversation = request.conversation
    assert conversation.unreadable is None
    assert [turn.text for turn in conversation.turns] == ["be brief", "look it up", "", "found"]
    assert in_tool_loop(conversation)
    written = messages.write(request, "low", None, "m", VLLM)
    assert written == {**body, "model": "m", "output_config": {"effort": "low"}}


@pytest.mark.parametrize(
    ("fields", "effort", "budget"),
    [
        ({}, None, None),
        ({"output_config": {"effort": "max"}}, "max", None),
        ({"thinking": {"type": "disabled"}}, "none", None),
        ({"thinking": {"type": "adaptive"}}, None, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, None, 2048),
    ],
)
def test_effort_and_budget_of_messages(
    fields: dict[str, Any], effort: str | None, budget: int | None
) -> None:
    request = messages.parse({"messages": HI, "max_tokens": 9000, **fields}, {})
    assert (request.effort, request.budget) == (effort, budget)


@pytest.mark.parametrize(
    ("parse", "body", "param"),
    [
        (responses.parse, {}, "input"),
        (responses.parse, {"input": []}, "input"),
        (responses.parse, {"input": "x", "reasoning": "low"}, "reasoning"),
        (responses.parse, {"input": "x", "reasoning": {"effort": "lots"}}, "reasoning.effort"),
        (responses.parse, {"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        (responses.parse, {"input": "x", "instructions": 5}, "instructions"),
        (messages.parse, {}, "messages"),
        (messages.parse, {"messages": HI, "thinking": {"type": True}}, "thinking.type"),
        (messages.parse, {"messages": HI, "thinking": {"budget_tokens": 2000}}, "thinking.type"),
        (messages.parse, {"messages": HI, "thinking": {"type": "enabled"}}, BUDGET),
        (
            messages.parse,
            {"messages": HI, "thinking": {"type": "enabled", "budget_tokens": 9}},
            BUDGET,
        ),
        (
            messages.parse,
            {"messages": HI, "thinking": {"type": "adaptive", "budget_tokens": 2000}},
            BUDGET,
        ),
        (
            messages.parse,
            {
                "messages": HI,
                "max_tokens": 2000,
                "thinking": {"type": "enabled", "budget_tokens": 2000},
            },
            BUDGET,
        ),
    ],
)
def test_an_error_names_the_field_that_is_wrong(
    parse: Callable[..., Any], body: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body, {})
    assert refused.value.param == param


def tops(usage: Usage | None) -> dict[str, Any]:
    return {"usage": [usage.prompt, usage.completion, usage.thinking] if usage else None}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


TEXT = event("response.output_text.delta", delta='"type": "error" [DONE]')
USED = {
    "input_tokens": 5,
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 4},
}
COMPLETED = event("response.completed", response={"id": "r", "usage": USED})
CREATED = event("response.created", response={"id": "r", "reasoning": {"effort": None}})
START = event("message_start", message={"id": "m", "usage": {"input_tokens": 5}})
DELTA = event("content_block_delta", delta={"type": "text_delta", "text": "hi"})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
STOP = event("message_stop")


def relayed(relay: Relay, stream: bytes, size: int) -> bytes:
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    return b"".join(map(relay.feed, chunks)) + relay.finish()


@pytest.mark.parametrize("size", [1, 3, 40, 10_000])
def test_a_stream_of_responses_has_tops_in_its_last_event(size: int) -> None:
    relay = ResponsesRelay(tops, responses.error_event, "low")
    out = relayed(relay, CREATED + TEXT * 3 + COMPLETED, size)
    created, _, end = out.partition(TEXT * 3)
    assert created.startswith(b"event: response.created\n")
    effort = {"reasoning": {"effort": "low"}}
    assert json.loads(created.partition(b"data: ")[2])["response"] == {"id": "r", **effort}
    assert end.startswith(b"event: response.completed\n")
    body = json.loads(end.partition(b"data: ")[2])
    assert body["response"] == {"id": "r", **effort, "usage": USED, "tops": {"usage": [5, 7, 4]}}
    assert relay.settled
    assert relay.error is None


@pytest.mark.parametrize("size", [1, 3, 40, 10_000])
def test_a_stream_of_messages_has_tops_beside_its_usage(size: int) -> None:
    relay = MessagesRelay(tops, messages.error_event)
    out = relayed(relay, START + DELTA * 3 + END + STOP, size)
    assert out.startswith(START + DELTA * 3)
    assert out.endswith(STOP)
    usage_event = out.removeprefix(START + DELTA * 3).removesuffix(STOP)
    assert json.loads(usage_event.partition(b"data: ")[2])["tops"] == {"usage": [5, 7, None]}
    assert relay.settled
    assert relay.error is None


def test_an_error_event_marks_the_stream_as_failed() -> None:
    for relay, error in (
        (
            ResponsesRelay(tops, responses.error_event, "low"),
            event("response.failed", response=None),
        ),
        (ResponsesRelay(tops, responses.error_event, "low"), event("error", message="no")),
        (MessagesRelay(tops, messages.error_event), event("error", error={"message": "no"})),
    ):
        assert relay.feed(error) + relay.finish() == error
        assert relay.error is not None
        assert relay.error.status == 502


RETURNS = (START + DELTA + END + STOP).replace(b"\n", b"\r\n")
SEVERAL = END.replace(b', "usage"', b',\ndata: "usage"')


@pytest.mark.parametrize("stream", [START + DELTA + END, RETURNS, START + DELTA + SEVERAL + STOP])
def test_a_stream_of_messages_is_whole_however_it_is_written(stream: bytes) -> None:
    relay = MessagesRelay(tops, messages.error_event)
    out = relayed(relay, stream, 7)
    assert relay.error is None
    assert out.endswith((b'{"type":"message_stop"}\n\n', STOP))
    assert out.count(b"message_stop") == 2  # its name and its type
    assert b'"tops":{"usage":[5,7,null]}' in out


@pytest.mark.parametrize(
    "end",
    [
        STOP,
        DELTA,
        event("message_delta", delta={"stop_reason": "error"}) + STOP,
        b"event: error\ndata: out of memory\n\n",
        b'event: error\ndata: {"message": "no"}\n\n' + END + STOP,
        b'data: {"error": {"message": "no", "code": 500}}\n\n',
        b'data: {"error": "out of memory"}\n\n' + END + STOP,
    ],
)
def test_a_stream_of_messages_without_an_answer_s_end_ends_with_an_error(end: bytes) -> None:
    relay = MessagesRelay(tops, messages.error_event)
    out = relayed(relay, START + DELTA + end, 50)
    assert relay.error is not None
    assert relay.error.status == 502
    last = json.loads(out.split(b"\n\n")[-2].partition(b"data: ")[2])
    assert last["type"] == "error"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (COMPLETED.strip(), None),
        (COMPLETED.replace(b"\n", b"\r"), None),
        (event("response.incomplete", response={"id": "r"}) + b"data: [DONE]\n\n", None),
        (TEXT, 502),
        (b"event: error\ndata: out of memory\n\n", 502),
        (event("response.failed", response={"error": {"message": "no", "code": 429}}), 429),
        (b'data: {"error": {"message": "no", "code": 500}}\n\ndata: [DONE]\n\n', 502),
        (event("response.completed", response={"status": "failed", "error": {}}), 502),
        (event("response.completed", response={"status": "cancelled"}), 502),
    ],
)
def test_a_stream_of_responses_is_judged_by_its_last_event(end: bytes, status: int | None) -> None:
    relay = ResponsesRelay(tops, responses.error_event, "low")
    out = relayed(relay, CREATED + TEXT + end, 30)
    assert (relay.error and relay.error.status) == status
    assert (b'"type":"error"' in out.replace(b" ", b"").replace(TEXT, b"")) == (status == 502)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_without_streaming_is_judged_by_its_status(status: str) -> None:
    assert responses.failure({"status": status, "output": []}) is not None
    assert responses.failure({"status": "completed", "output": []}) is None


def test_an_error_event_has_the_form_of_its_api() -> None:
    error = EngineFailed("it broke")
    body = json.loads(messages.error_event(error).partition(b"data: ")[2])
    assert body["type"] == "error"
    assert body["error"]["message"] == "it broke"
    body = json.loads(responses.error_event(error).partition(b"data: ")[2])
    assert (body["type"], body["message"], body["code"]) == ("error", "it broke", "engine_failed")
