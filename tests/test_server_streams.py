"""Streams of other people's engines, on real sockets: what the client gets, and what is booked."""

import json
import socket
import time
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from polling import PATIENCE_SECONDS, until
from processes import Server, serving
from scripted_engine import CHUNK, FINISH, ScriptedEngine, ask

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
CHUNKED = HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
DONE = b"data: [DONE]\n\n"
PAUSE = 0.02
"""Seconds between two segments, so that they arrive apart."""


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def choice(finish: str | None = None, content: str | None = "x", **fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": content}, "finish_reason": finish, **fields}


USED = {
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "completion_tokens_details": {"reasoning_tokens": 4},
}
USAGE = event(choices=[], usage=USED)
LINES = (
    b'data: {"choices":\ndata: [{"index":0,"delta":{"content":"x"},'
    b'\ndata:"finish_reason":null}]}\n\n'
)


def framed(block: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(block), block)


@pytest.fixture(scope="module")
def front(engine: ScriptedEngine) -> Generator[Server]:
    limits = ("--upstream-timeout", "10")
    with serving("--upstream", f"http://127.0.0.1:{engine.port}/v1", *limits) as server:
        yield server


def booked(front: Server, request_id: str) -> dict[str, Any]:
    """The log line of a request."""
    assert front.logged(f'"request_id":"{request_id}"')
    lines = [line for line in front.lines if f'"request_id":"{request_id}"' in line]
    return json.loads(lines[-1])


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks that a client gets, which reads one line of data per event."""
    data = [line[5:].strip() for line in response.text.split("\n") if line.startswith("data:")]
    return [json.loads(line) for line in data if line != "[DONE]"]


def text_of(chunks: list[dict[str, Any]]) -> str:
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


WHOLE: dict[str, tuple[bytes | float, ...]] = {
    "no-done": (HEAD, CHUNK + FINISH + USAGE),
    "only-finish": (HEAD, CHUNK, PAUSE, FINISH),
    "done-without-blank-line": (HEAD, CHUNK + FINISH + USAGE + DONE.strip()),
    "finish-without-blank-line": (HEAD, CHUNK, PAUSE, FINISH.strip() + b"\n"),
    "returns": (HEAD, (CHUNK + FINISH + USAGE + DONE).replace(b"\n", b"\r")),
    "crlf-cut": (HEAD, CHUNK.strip() + b"\r", PAUSE, b"\n\r", PAUSE, b"\n" + FINISH + DONE),
    "mark": (HEAD, b"\xef\xbb", PAUSE, b"\xbf" + CHUNK + FINISH + DONE),
    "no-space": (HEAD, (CHUNK + FINISH + USAGE + DONE).replace(b"data: ", b"data:")),
    "usage-in-finish": (HEAD, CHUNK, event(choices=[choice("stop")], usage=USED) + DONE),
    "usage-first": (HEAD, CHUNK + USAGE + FINISH + DONE),
    "empty-finish": (HEAD, event(choices=[choice("")]), PAUSE, event(choices=[choice("stop")])),
    "trailing": (CHUNKED + framed(CHUNK + FINISH + DONE) + b"0\r\n\r\ntrailing bytes",),
    "trailing-later": (CHUNKED, PAUSE, framed(CHUNK + FINISH) + b"0\r\n\r\nHTTP/1.1 junk"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_is_a_200_and_ends_well(
    front: Server, engine: ScriptedEngine, name: str
) -> None:
    engine.replies[name] = WHOLE[name]
    response = ask(front, name, stream=True)
    chunks = chunks_of(response)
    assert text_of(chunks) == "xx"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["tops"]["effort"]
    assert not any("usage" in chunk for chunk in chunks)
    assert response.text.endswith(("[DONE]\n\n", "[DONE]\n"))
    line = booked(front, response.headers["x-request-id"])
    assert line["status"] == 200
    if USAGE[7:-2] in b"".join(part for part in WHOLE[name] if isinstance(part, bytes)):
        assert (line["thinking_tokens"], line["answer_tokens"]) == (4, 3)


@pytest.mark.parametrize("wants_usage", [False, True])
@pytest.mark.parametrize("late", [USAGE + DONE, DONE, b""])
def test_a_whole_answer_ends_well_without_its_usage(
    front: Server, engine: ScriptedEngine, late: bytes, wants_usage: bool
) -> None:
    """The usage comes later than an engine may take to end its stream, or not at all."""
    engine.replies["late"] = (HEAD, CHUNK + FINISH, 2.5 if late else PAUSE, late)
    response = ask(front, "late", stream=True, stream_options={"include_usage": wants_usage})
    chunks = chunks_of(response)
    assert (response.status_code, text_of(chunks)) == (200, "xx")
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["tops"]["thinking_tokens"] is None
    assert response.text.endswith("[DONE]\n\n")
    line = booked(front, response.headers["x-request-id"])
    assert (line["status"], line["thinking_tokens"]) == (200, None)


BROKEN: dict[str, tuple[bytes | float, ...]] = {
    "no-finish": (HEAD, CHUNK, PAUSE, USAGE),
    "done-without-finish": (HEAD, CHUNK + USAGE + DONE),
    "finish-error": (HEAD, CHUNK + event(choices=[choice("error")]) + DONE),
    "finish-failed": (HEAD, CHUNK + event(choices=[choice("INTERNAL_ERROR")]) + USAGE + DONE),
    "finish-abort": (HEAD, CHUNK + event(choices=[choice("abort")])),
    "choice-error": (HEAD, CHUNK + event(choices=[choice("stop", error={"message": "no"})]) + DONE),
    "delta-error": (HEAD, CHUNK + event(choices=[{"delta": {"error": {"message": "no"}}}]) + DONE),
    "event-error": (HEAD, CHUNK + b"event: error\ndata: out of memory\n\n" + FINISH + DONE),
    "event-error-object": (HEAD, CHUNK + b'event: error\ndata: {"message":"no"}\n\n' + DONE),
    "error-text": (HEAD, CHUNK + event(error="out of memory") + FINISH + DONE),
    "object-error": (HEAD, CHUNK + event(object="error", message="no", code=500) + DONE),
    "malformed": (CHUNKED, PAUSE, framed(CHUNK) + b"zz\r\n", PATIENCE_SECONDS),
    "malformed-early": (CHUNKED + framed(CHUNK) + b"zz\r\nxx\r\n", PATIENCE_SECONDS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_in_any_shape_is_an_error(
    front: Server, engine: ScriptedEngine, name: str
) -> None:
    engine.replies[name] = BROKEN[name]
    started = time.monotonic()
    response = ask(front, name, stream=True)
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    chunks = chunks_of(httpx.Response(200, text=response.text.replace("data: out of memory\n", "")))
    assert text_of(chunks).startswith("x")
    assert any(chunk.get("error") for chunk in chunks), "an SDK knows no other form of an error"
    assert booked(front, response.headers["x-request-id"])["status"] == 502


@pytest.mark.parametrize("name", ["error", "error-text", "choice-error", "finish-error"])
def test_an_error_under_status_200_is_an_error(
    front: Server, engine: ScriptedEngine, name: str
) -> None:
    message: dict[str, Any] = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    bodies: dict[str, Any] = {
        "error": {"error": {"message": "too many", "code": 429}},
        "error-text": {"error": "out of memory"},
        "choice-error": {"choices": [{**message, "error": {"message": "no"}}]},
        "finish-error": {"choices": [{**message, "finish_reason": "error"}]},
    }
    raw = json.dumps(bodies[name]).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    engine.replies[f"whole-{name}"] = (head % len(raw) + raw,)
    for stream in (False, True):
        response = ask(front, f"whole-{name}", stream=stream)
        assert response.status_code == (429 if name == "error" else 502)
        assert response.json()["error"]["message"]


def test_several_lines_of_data_are_read_as_one(front: Server, engine: ScriptedEngine) -> None:
    usage = USAGE.replace(b', "usage"', b',\ndata: "usage"')
    finish = FINISH.replace(b',"finish', b',\ndata:"finish')
    engine.replies["lines"] = (HEAD, LINES + finish + usage + DONE)
    response = ask(front, "lines", stream=True)
    assert b'"tops":' in response.content
    assert b'"usage":' not in response.content
    assert booked(front, response.headers["x-request-id"])["thinking_tokens"] == 4


def test_usage_in_every_chunk_is_read_and_does_not_leak(
    front: Server, engine: ScriptedEngine
) -> None:
    beside = {"prompt_tokens": 32, "completion_tokens": 100, "total_tokens": 182}
    beside |= {"completion_tokens_details": {"reasoning_tokens": 50}}
    running = event(choices=[choice()], usage={**beside, "completion_tokens": 1})
    last = event(choices=[choice("stop")], usage=beside)
    engine.replies["running"] = (HEAD, running, PAUSE, running + last, PAUSE, DONE)
    response = ask(front, "running", stream=True)
    assert text_of(chunks_of(response)) == "xxx"
    assert b'"usage"' not in response.content
    line = booked(front, response.headers["x-request-id"])
    assert (line["thinking_tokens"], line["answer_tokens"]) == (50, 100)
    options = {"stream_options": {"include_usage": True}}
    response = ask(front, "running", stream=True, **options)
    assert response.content.count(b'"usage"') == 3
    assert "tops" in chunks_of(response)[-1]


def test_heartbeats_hold_no_finish_back(front: Server, engine: ScriptedEngine) -> None:
    engine.replies["heartbeats"] = (
        HEAD,
        CHUNK + FINISH,
        *(b": ping\n\n", 0.25) * 4 * PATIENCE_SECONDS,
    )
    started = time.monotonic()
    response = ask(front, "heartbeats", stream=True)
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    assert chunks_of(response)[-1]["tops"]
    assert booked(front, response.headers["x-request-id"])["status"] == 200


def test_an_event_without_end_is_refused(front: Server, engine: ScriptedEngine) -> None:
    engine.replies["huge"] = (HEAD, CHUNK + b"data: " + b"x" * 2**25, PATIENCE_SECONDS)
    response = ask(front, "huge", stream=True)
    assert "MiB" in chunks_of(response)[-1]["error"]["message"]
    assert booked(front, response.headers["x-request-id"])["status"] == 502


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_a_client_that_stops_at_done_had_its_answer(
    front: Server, engine: ScriptedEngine, path: str
) -> None:
    engine.replies["lingering"] = (HEAD, CHUNK, PAUSE, FINISH + USAGE + DONE, 1.0)
    body = {"messages": [{"role": "user", "content": "lingering"}], "stream": True}
    if path == "completions":
        body = {"prompt": "lingering", "stream": True}
    raw = json.dumps(body)
    host, port = front.url.removeprefix("http://").split(":")
    head = f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\nx-request-id: stops-{len(path)}\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"{head}content-length: {len(raw)}\r\n\r\n{raw}".encode())
        received = b""
        while b"[DONE]" not in received:
            received += client.recv(65536)
    line = booked(front, f"stops-{len(path)}")
    assert line["status"] == 200
    if path == "chat/completions":
        assert line["thinking_tokens"] == 4


def test_a_client_that_stops_before_the_end_did_not(front: Server, engine: ScriptedEngine) -> None:
    engine.replies["early"] = (HEAD, CHUNK, 0.5, FINISH + USAGE + DONE)
    body = {"messages": [{"role": "user", "content": "early"}], "stream": True}
    url = f"{front.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body) as response:
        next(response.iter_raw())
        request_id = response.headers["x-request-id"]
    assert booked(front, request_id)["status"] == 499


def test_the_time_of_a_slow_client_is_not_the_engine_s(
    front: Server, engine: ScriptedEngine
) -> None:
    flood = event(choices=[choice(content="x" * 2**23)])
    engine.replies["slow"] = (HEAD, flood + FINISH, PAUSE, USAGE, PAUSE, DONE)
    body = {"messages": [{"role": "user", "content": "slow"}], "stream": True}
    url = f"{front.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as response:
        time.sleep(2.5)  # longer than an engine may take to end its stream
        assert b'"thinking_tokens":4' in b"".join(response.iter_raw())
    assert booked(front, response.headers["x-request-id"])["thinking_tokens"] == 4


def test_streams_are_counted(front: Server, engine: ScriptedEngine) -> None:
    def count() -> float:
        lines = httpx.get(f"{front.url}/metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("tops_ttft_seconds_count")]
        return sum(float(line.rpartition(" ")[2]) for line in counts)

    before = count()
    engine.replies["counted"] = WHOLE["no-done"]
    ask(front, "counted", stream=True)
    until(lambda: count() == before + 1)


def test_the_first_token_of_the_answer_comes_after_the_thinking(
    front: Server, engine: ScriptedEngine
) -> None:
    def total(name: str) -> float:
        lines = httpx.get(f"{front.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    names = [f"tops_{name}_seconds_sum" for name in ("ttft", "first_answer", "request")]
    counts = "tops_first_answer_seconds_count"
    before, counted = [total(name) for name in names], total(counts)
    thought = event(choices=[{"index": 0, "delta": {"reasoning": 'a "content": "x'}}])
    answer = FINISH + USAGE + DONE
    engine.replies["late"] = (HEAD, thought, thought, 0.3, CHUNK, answer)
    ask(front, "late", stream=True)
    until(lambda: total(counts) == counted + 1)
    ttft, first_answer, whole = (total(n) - b for n, b in zip(names, before, strict=True))
    assert ttft < first_answer
    assert 0.3 <= first_answer <= whole  # the pause began after the request
