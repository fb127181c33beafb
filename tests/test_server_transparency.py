"""The gateway changes nothing else: bodies, chunks, disconnects and back-pressure pass through."""

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from polling import until
from processes import Server
from scripted_engine import CHUNK, INTERLEAVED, ScriptedEngine, ask


def has_stopped(count: Callable[[], int]) -> bool:
    """Whether a count does not grow for a second."""
    before = count()
    time.sleep(1)
    return count() == before


def test_the_body_passes_through_with_the_decision_added(
    front: Server, engine: ScriptedEngine
) -> None:
    extra = {
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "logit_bias": {"5": -100},
        "some_future_field": {"deep": [1, 2.5, None, "ü"]},
        "chat_template_kwargs": {"custom": 1, "reasoning_effort": "low"},
    }
    response = ask(front, "complete", **extra, max_tokens=100)
    assert engine.bodies[-1] == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "complete"}],
        **extra,
        "chat_template_kwargs": {"custom": 1},
        "max_tokens": 100,
        "reasoning_effort": "low",
        "thinking_token_budget": 50,
    }
    assert response.json()["extra"] == {"unknown": "field"}
    assert response.json()["tops"]["thinking_tokens"] is None


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
def test_the_engine_is_told_the_session(front: Server, engine: ScriptedEngine, path: str) -> None:
    """By which routers before the engines choose one; not by the client's own name for it."""

    def told(**headers: str) -> str:
        question = [{"role": "user", "content": "complete"}]
        body = {"messages": question, "input": question, "max_tokens": 99}
        httpx.post(f"{front.url}/v1/{path}", json=body, headers=headers)
        named = re.findall(r"(?im)^x-session-id: ([0-9a-f]{32})\r$", engine.heads[-1])
        assert len(named) == 1
        return named[0]

    first, other, unnamed = told(**{"x-session-id": "a"}), told(**{"x-session-id": "b"}), told()
    assert len({first, other, unnamed}) == 3
    assert told(**{"x-session-id": "a"}) == first


def test_reasoning_in_a_tool_loop_reaches_the_engine_unchanged(
    front: Server, engine: ScriptedEngine
) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "look it up"},
        {"role": "assistant", "content": None, "reasoning": "I must look", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "found"},
        {"role": "assistant", "content": None, "reasoning_content": "once more \u00e9"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}]},
        {"role": "user", "content": "complete"},
    ]
    body = {"messages": messages, "stream": False}
    assert httpx.post(f"{front.url}/v1/chat/completions", json=body).status_code == 200
    assert engine.bodies[-1]["messages"] == messages


def test_interleaved_thinking_is_relayed_byte_for_byte(front: Server) -> None:
    body = {"messages": [{"role": "user", "content": "interleave"}], "stream": True}
    answer = httpx.post(f"{front.url}/v1/chat/completions", json=body)
    assert answer.content.startswith(INTERLEAVED)
    assert answer.content.endswith(b"data: [DONE]\n\n")


def test_the_client_s_key_and_cookies_do_not_reach_the_engine(
    front: Server, engine: ScriptedEngine
) -> None:
    body = {"messages": [{"role": "user", "content": "complete"}]}
    secrets = {"authorization": "Bearer sk-client", "cookie": "session=1", "x-request-id": "my-id"}
    response = httpx.post(f"{front.url}/v1/chat/completions", json=body, headers=secrets)
    assert response.headers["x-request-id"] == "my-id"
    head = engine.heads[-1].lower()
    assert "sk-client" not in head
    assert "cookie" not in head
    assert "x-request-id: my-id" in head


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_the_trace_is_continued_on_the_engine(
    front: Server, engine: ScriptedEngine, path: str
) -> None:
    body = {"messages": [{"role": "user", "content": "complete"}], "prompt": "complete"}
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace = {"traceparent": parent, "tracestate": "vendor=1", "baggage": "user=7"}
    assert httpx.post(f"{front.url}/v1/{path}", json=body, headers=trace).status_code == 200
    head = engine.heads[-1].lower()
    assert f"traceparent: {parent}\r\ntracestate: vendor=1\r\n" in head
    assert "baggage" not in head


def test_chunks_are_passed_on_immediately(front: Server) -> None:
    body = {"messages": [{"role": "user", "content": "stall"}], "stream": True}
    with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body) as response:
        blocks = response.iter_raw()
        assert next(blocks) == CHUNK
        assert b'"error"' in next(blocks)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_disconnects_cancels_the_engine_s_request(
    front: Server, engine: ScriptedEngine, stream: bool
) -> None:
    engine.cancelled.clear()
    script = "endless" if stream else "wait"
    body = {"messages": [{"role": "user", "content": script}], "stream": stream}
    if stream:
        with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body) as response:
            next(response.iter_raw())
    else:
        raw = json.dumps(body)
        host, port = front.url.removeprefix("http://").split(":")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}"
        engine.bodies.clear()
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"{head}\r\n\r\n{raw}".encode())
            until(lambda: engine.bodies)
    assert engine.cancelled.wait(60)
    assert front.logged('"status":499')


def test_a_client_that_stops_reading_stops_the_engine(
    front: Server, engine: ScriptedEngine
) -> None:
    body = {"messages": [{"role": "user", "content": "flood"}], "stream": True}
    with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body) as response:
        next(response.iter_raw())
        until(lambda: has_stopped(lambda: engine.flooded))
