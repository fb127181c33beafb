"""Answers that no engine should give, and bodies that others change: never a 500, nothing lost."""

import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from processes import Server, peak_memory, serving
from scripted_engine import ScriptedEngine, ask, error_of

HUGE = 123456789012345678901234567890
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
MESSAGE = {"role": "assistant", "content": "x"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}


@pytest.fixture(scope="module")
def front(engine: ScriptedEngine) -> Generator[Server]:
    with serving("--upstream", f"http://127.0.0.1:{engine.port}/v1") as server:
        yield server


def nested(levels: int, core: Any = 1) -> Any:
    for _ in range(levels):
        core = [core]
    return core


def reply(
    body: object, status: str = "200 OK", kind: str = "application/json", head: bytes = b""
) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    start = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(raw)}\r\n"
    return start.encode() + head + b"connection: close\r\n\r\n" + raw


def answer(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [CHOICE], "usage": USAGE, **fields}


def scripted_answer(front: Server, engine: ScriptedEngine, raw: bytes) -> httpx.Response:
    engine.replies["odd"] = raw
    return ask(front, "odd")


@pytest.mark.parametrize("status", ["600 Odd", "999 Odd", "099 Odd", "101 Switching", "150 Odd"])
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_a_status_that_is_none_is_502(
    front: Server, engine: ScriptedEngine, status: str, path: str
) -> None:
    engine.replies["odd"] = reply({"error": {"message": "x"}}, status)
    body = {"prompt": "odd", "messages": [{"role": "user", "content": "odd"}]}
    response = httpx.post(f"{front.url}/v1/{path}", json=body, timeout=60)
    assert error_of(response, 502)["code"] == "engine_failed"


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        (b"37", "37"),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"),
        (b"\xff\xfe", None),
        (b"3\x017", None),
        ("٣".encode(), None),
        (b"soon" * 1000, None),
    ],
)
def test_retry_after_is_passed_on_where_it_is_valid(
    front: Server, engine: ScriptedEngine, value: bytes, passed: str | None
) -> None:
    head = b"retry-after: " + value + b"\r\n"
    refusal = reply({"error": {"message": "busy"}}, "429 Busy", head=head)
    response = scripted_answer(front, engine, refusal)
    assert response.status_code == 429
    assert response.headers.get("retry-after") == passed


def test_an_answer_s_deep_nesting_and_large_integers_are_kept(
    front: Server, engine: ScriptedEngine
) -> None:
    extra = {"deep": nested(300), "seed": HUGE, "negative": -(2**63) - 1}
    response = scripted_answer(front, engine, reply(answer(**extra)))
    assert response.status_code == 200
    received = response.json()
    assert {name: received[name] for name in extra} == extra
    assert received["tops"]["effort"]


def test_a_request_s_deep_nesting_and_large_integers_are_kept(
    front: Server, engine: ScriptedEngine
) -> None:
    extra = {"deep": nested(300), "seed": HUGE, "negative": -(2**63) - 1}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"maximum": HUGE}}}
    assert ask(front, "complete", extra=extra, tools=[tool]).status_code == 200
    assert engine.bodies[-1]["extra"] == extra
    assert engine.bodies[-1]["tools"] == [tool]
    body = {"prompt": "complete", "seed": HUGE}
    assert httpx.post(f"{front.url}/v1/completions", json=body).status_code == 200
    assert engine.bodies[-1]["seed"] == HUGE


def test_a_stream_s_last_chunk_keeps_them_too(front: Server, engine: ScriptedEngine) -> None:
    extra = {"deep": nested(300), "seed": HUGE}
    chunk = {"id": "c", "choices": [], "usage": USAGE, **extra}
    finish = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [json.dumps(finish), json.dumps(chunk), "[DONE]"]
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    engine.replies["odd"] = reply(body, kind="text/event-stream")
    response = ask(front, "odd", stream=True, stream_options={"include_usage": True})
    assert response.status_code == 200
    last = next(line for line in response.text.splitlines() if '"tops"' in line)
    received = json.loads(last.removeprefix("data: "))
    assert {name: received[name] for name in extra} == extra


@pytest.mark.parametrize(
    "body",
    [
        {**answer(), "choices": choices}
        for choices in (
            *(None, {}, [], [None], [[]], [5], "x", [{"message": None}], [{"message": [1]}]),
            [{"message": {"content": {"a": 1}, "reasoning": 5, "tool_calls": "x"}}],
            [{"index": "x", "message": MESSAGE, "finish_reason": 7}],
        )
    ]
    + [
        answer(usage=usage)
        for usage in (
            *(None, [], "x", 5, {"prompt_tokens": "3"}, {"prompt_tokens": True}),
            {"prompt_tokens": HUGE, "completion_tokens": HUGE},
            {"prompt_tokens": -1, "completion_tokens": 1e300},
            {**USAGE, "completion_tokens_details": [1]},
            {**USAGE, "completion_tokens_details": {"reasoning_tokens": {"a": 1}}},
            {**USAGE, "completion_tokens_details": {"reasoning_tokens": HUGE}},
        )
    ]
    + [answer(tops=5), answer(id=None, error=None), answer(error={"message": "x"}), [], 5, None],
    ids=lambda body: json.dumps(body)[:60],
)
def test_no_answer_is_a_500(front: Server, engine: ScriptedEngine, body: object) -> None:
    response = scripted_answer(front, engine, reply(body))
    assert response.status_code in (200, 502), response.text
    assert front.process.poll() is None


@pytest.mark.parametrize("levels", [1025, 20_000])
def test_a_body_nested_deeper_than_can_be_read_is_refused(front: Server, levels: int) -> None:
    content = b'{"messages":' + b"[" * levels + b"]" * levels + b"}"
    response = httpx.post(f"{front.url}/v1/chat/completions", content=content)
    assert "nested" in error_of(response, 400)["message"]


@pytest.mark.parametrize("value", [b"{}", b"[]", b"1", b'"a"', b'{"a":{}}'])
def test_a_body_of_millions_of_values_takes_no_memory(front: Server, value: bytes) -> None:
    values = b",".join(31 * 2**20 // (len(value) + 1) * [value])
    before = peak_memory(front)
    content = b'{"messages":[' + values + b"]}"
    response = httpx.post(f"{front.url}/v1/chat/completions", content=content, timeout=60)
    assert "JSON values" in error_of(response, 413)["message"]
    assert peak_memory(front) - before < 200 * 2**20


def test_texts_full_of_brackets_are_no_values(front: Server, engine: ScriptedEngine) -> None:
    content = '"[{,\\' * 500_000
    messages = [{"role": "system", "content": content}, {"role": "user", "content": "complete"}]
    body = {"messages": messages}
    response = httpx.post(f"{front.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200
    assert engine.bodies[-1]["messages"] == messages
