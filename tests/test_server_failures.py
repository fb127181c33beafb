"""Engines that fail in every way, in front of a real gateway on real sockets.

The scripted engine stands in for engines that misbehave on command, which no real one does; the
embedded engine's own death and restart are tested with the real one in test_server_serve.py.
"""

import asyncio
import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Generator
from typing import Any

import aiohttp
import httpx
import openai
import pytest
from processes import Server, serving

from server.endpoints.budget_retry import _usable as usable
from server.engines.http_reply import translate as failure_of
from server.engines.reply import is_unknown_path
from server.errors import EngineDown, EngineTimeout

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
INTERLEAVED = b"".join(
    b'data: {"id":"c","choices":[{"index":0,"delta":' + delta + b',"finish_reason":null}]}\n\n'
    for delta in (
        b'{"reasoning":"first I look"}',
        b'{"tool_calls":[{"index":0,"id":"t1","function":{"name":"look","arguments":"{}"}}]}',
        b'{"reasoning_content": "then  I think \\u00e9"}',
        b'{"content":"so"}',
        b'{"reasoning":"again"}',
        b'{"content":"done"}',
    )
)
MODELS = {"object": "list", "data": [{"id": "scripted", "max_model_len": 4096}]}


class ScriptedEngine:
    """A raw HTTP/1.1 server that does what the last message says."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.cancelled = threading.Event()
        self.flooded = 0
        self.port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._started.wait(5)

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        server.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("GET"):
                await self._whole(writer, json.dumps(MODELS).encode())
                return
            length = next(
                int(line.split(":")[1])
                for line in head.lower().splitlines()
                if line.startswith("content-length")
            )
            body = json.loads(await reader.readexactly(length))
            self.heads.append(head)
            self.bodies.append(body)
            said = body.get("prompt") or body["messages"][-1]["content"]
            what = getattr(self, f"do_{said}", self.do_complete)
            await what(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _whole(
        self,
        writer: asyncio.StreamWriter,
        body: bytes,
        status: str = "200 OK",
        kind: str = "application/json",
        more: str = "",
    ) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}"
        writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async def _begin(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + CHUNK)
        await writer.drain()

    async def do_complete(self, _: Any, writer: asyncio.StreamWriter) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 5}
        choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
        answer = {"id": "c", "choices": [choice], "usage": usage, "kept": {"as": "it is"}}
        await self._whole(writer, json.dumps(answer).encode())

    async def do_vanish(self, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def do_hang(self, *_: Any) -> None:
        await asyncio.sleep(8)

    async def do_garbage(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._whole(writer, b'{"id": "half', "200 OK")

    async def do_html(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._whole(writer, b"<h1>bad gateway</h1>", "502 Bad Gateway", "text/html")

    async def do_redirect(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._whole(writer, b"{}", "307 Moved", more="location: http://127.0.0.1:1/\r\n")

    async def do_refuse(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}
        refusal = json.dumps({"error": error}).encode()
        await self._whole(writer, refusal, "400 Bad Request", more="retry-after: 37\r\n")

    async def do_refuse_as_sglang(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = {"object": "error", "message": "too long", "type": "BadRequest", "code": 400}
        refusal = json.dumps(error).encode()
        await self._whole(writer, refusal, "429 Too Many", more="retry-after: 37\r\n")

    async def do_refuse_as_fastapi(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = {"detail": [{"loc": ["body", "seed"], "msg": "too long"}]}
        await self._whole(writer, json.dumps(error).encode(), "422 Unprocessable Entity")

    async def do_linger(self, _: Any, writer: asyncio.StreamWriter) -> None:
        """The answer is whole, its connection never ends."""
        await self._begin(writer)
        writer.write(b": ping\ndata:[DONE]\n\n")
        await asyncio.sleep(8)

    async def do_die_in_an_event(self, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))
        await asyncio.sleep(0.05)
        writer.write(b"9\r\n" + CHUNK[:9] + b"\r\n")
        await asyncio.sleep(0.05)

    async def do_die(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        writer.transport.abort()

    async def do_stop_short(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)

    async def do_stall(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        await asyncio.sleep(8)

    async def do_flood(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        while True:
            writer.write(CHUNK * 100)
            self.flooded += 100 * len(CHUNK)
            await writer.drain()

    async def do_endless(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        try:
            while not reader.at_eof():
                writer.write(CHUNK)
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            self.cancelled.set()

    async def do_think(self, _: Any, writer: asyncio.StreamWriter) -> None:
        """Thinks all of its budget; has an answer from 30 tokens on, and a good one from 60."""
        budget = self.bodies[-1]["thinking_token_budget"]
        content = "" if budget < 30 else '{"sum": "7"}' if budget < 60 else '{"sum": 7}'
        details = {"reasoning_tokens": budget}
        usage = {"prompt_tokens": 3, "completion_tokens": budget + 5}
        usage |= {"completion_tokens_details": details}  # pyright: ignore[reportOperatorIssue]
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
        await self._whole(writer, json.dumps({"choices": [choice], "usage": usage}).encode())

    async def do_think_once(self, reader: Any, writer: asyncio.StreamWriter) -> None:
        """Thinks all of a first budget of 20, and fails on any other."""
        if self.bodies[-1]["thinking_token_budget"] == 20:
            await self.do_think(reader, writer)

    async def do_headers(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._whole(writer, b"{}", more=f"x-large: {'x' * 100_000}\r\n")

    async def do_no_choices(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._whole(writer, b'{"object": "chat.completion"}')

    async def do_interleave(self, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + INTERLEAVED)
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()

    async def do_wait(self, reader: asyncio.StreamReader, _: Any) -> None:
        if not await reader.read():
            self.cancelled.set()


@pytest.fixture(scope="module")
def engine() -> Generator[ScriptedEngine]:
    engine = ScriptedEngine()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def front(engine: ScriptedEngine) -> Generator[Server]:
    limits = ("--upstream-timeout", "1", "--body-timeout", "1", "--max-body-bytes", "200000")
    with serving("--upstream", f"http://127.0.0.1:{engine.port}/v1", *limits) as server:
        yield server


def ask(front: Server, what: str, **fields: Any) -> httpx.Response:
    body = {"model": "scripted", "messages": [{"role": "user", "content": what}], **fields}
    return httpx.post(f"{front.url}/v1/chat/completions", json=body, timeout=20)


def is_envelope(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("vanish", 502),
        ("hang", 504),
        ("garbage", 502),
        ("html", 502),
        ("redirect", 502),
        ("headers", 502),
        ("no_choices", 502),
    ],
)
def test_before_the_first_byte_an_engine_error_has_its_status(
    front: Server, what: str, status: int, stream: bool
) -> None:
    response = ask(front, what, stream=stream)
    is_envelope(response, status)
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("what", ["die", "stop_short", "stall"])
def test_after_the_first_byte_an_engine_error_is_an_event(front: Server, what: str) -> None:
    response = ask(front, what, stream=True)
    assert response.status_code == 200
    *events, last, nothing = response.text.split("\n\n")
    assert nothing == ""
    assert events == [CHUNK.decode().strip()]
    assert json.loads(last.removeprefix("data: "))["error"]["message"]


def test_a_stream_that_nobody_asked_for_is_a_502(front: Server) -> None:
    is_envelope(ask(front, "endless"), 502)


def test_the_openai_client_raises_on_the_error_event(front: Server) -> None:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="-", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "die"}], stream=True
        )
        with stream, pytest.raises(openai.APIError, match="before it was complete"):
            list(stream)


def test_an_engine_s_own_refusal_passes_through(front: Server) -> None:
    response = ask(front, "refuse")
    assert (response.status_code, response.headers["retry-after"]) == (400, "37")
    assert response.json()["error"]["message"] == "too long"


@pytest.mark.parametrize(
    ("server", "status", "kind", "wait"),
    [
        ("sglang", 429, "rate_limit_error", "37"),
        ("fastapi", 422, "invalid_request_error", None),
    ],
)
def test_a_refusal_in_other_words_keeps_its_status_and_reason(
    front: Server, server: str, status: int, kind: str, wait: str | None
) -> None:
    response = ask(front, f"refuse_as_{server}")
    error = is_envelope(response, status)
    assert "too long" in error["message"]
    assert error["type"] == kind
    assert response.headers.get("retry-after") == wait


def test_an_answer_that_is_whole_is_no_error_however_its_connection_ends(front: Server) -> None:
    response = ask(front, "linger", stream=True)
    assert response.text.split("\n\n")[1:] == [": ping\ndata:[DONE]", ""]
    ours = f'"request_id":"{response.headers["x-request-id"]}"'
    assert front.logged(ours)
    assert any(ours in line and '"status":200' in line for line in front.lines)


def test_what_is_passed_on_is_whole_events(front: Server) -> None:
    body = {"model": "scripted", "prompt": "die_in_an_event", "stream": True}
    events = httpx.post(f"{front.url}/v1/completions", json=body).text.split("\n\n")
    assert events[0] == CHUNK.decode().strip()
    assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == "engine_failed"
    assert events[2:] == [""]


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        (None, True),
        ({"detail": "Not Found"}, True),
        ({"error": {"message": "Not Found", "type": "NotFoundError"}}, True),
        ({"error": {"message": "File Not Found", "code": 404}}, True),
        ({"error": "Not Found"}, True),
        ({"error": {"message": "Response with id 'resp_1' not found."}}, False),
        ({"detail": "there is no such file"}, False),
    ],
)
def test_a_404_is_of_the_path_or_of_what_was_asked_for(body: object, unknown: bool) -> None:
    assert is_unknown_path(body) is unknown


def test_an_engine_that_is_not_there_is_503_and_ready_says_so(engine: ScriptedEngine) -> None:
    absent = ScriptedEngine()
    with serving("--upstream", f"http://127.0.0.1:{absent.port}") as front:
        assert httpx.get(f"{front.url}/ready").status_code == 200
        absent.stop()
        deadline = time.monotonic() + 15
        while httpx.get(f"{front.url}/ready").status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        response = ask(front, "complete")
        is_envelope(response, 503)
        assert "retry-after" in response.headers
        assert httpx.get(f"{front.url}/health").status_code == 200


def test_the_body_passes_through_but_for_the_decision(
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
    sent = engine.bodies[-1]
    assert sent == {
        "model": "scripted",
        "messages": [{"role": "user", "content": "complete"}],
        **extra,
        "chat_template_kwargs": {"custom": 1},
        "max_tokens": 100,
        "reasoning_effort": "low",
        "thinking_token_budget": 50,
    }
    assert response.json()["kept"] == {"as": "it is"}
    assert response.json()["tops"]["thinking_tokens"] is None


def test_reasoning_of_a_tool_loop_reaches_the_engine_as_it_was(
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
    assert answer.content == INTERLEAVED + b"data: [DONE]\n\n"


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "s",
        "schema": {"type": "object", "properties": {"sum": {"type": "integer"}}},
    },
}


@pytest.mark.parametrize(
    ("fields", "budgets", "content"),
    [
        ({"max_tokens": 40}, [20, 39], '{"sum": "7"}'),
        ({"max_tokens": 120}, [60], '{"sum": 7}'),
        ({"max_tokens": 60, "response_format": SCHEMA}, [30, 59], '{"sum": "7"}'),
        ({"max_tokens": 80, "response_format": SCHEMA}, [40, 79], '{"sum": 7}'),
        ({"max_tokens": 80}, [40], '{"sum": "7"}'),
        ({"max_tokens": 40, "thinking_token_budget": 20}, [20], ""),
    ],
)
def test_a_second_try_with_more_budget_where_the_first_left_no_answer(
    engine: ScriptedEngine,
    retrying: Server,
    fields: dict[str, Any],
    budgets: list[int],
    content: str,
) -> None:
    engine.bodies.clear()
    answer = ask(retrying, "think", **fields).json()
    assert [body["thinking_token_budget"] for body in engine.bodies] == budgets
    assert answer["choices"][0]["message"]["content"] == content
    assert answer["usage"]["completion_tokens"] == sum(budgets) + 5 * len(budgets)
    assert answer["tops"]["thinking_tokens"] == sum(budgets)
    assert answer["tops"]["budget"] == budgets[-1]
    metrics = httpx.get(f"{retrying.url}/metrics").text
    assert 'tops_budget_violations_total{model="scripted"} 0.0' in metrics


def test_a_second_try_keeps_to_the_limit_of_the_server(engine: ScriptedEngine) -> None:
    flags = ("--retry-budget-factor", "2.5", "--max-budget", "31")
    with serving("--upstream", f"http://127.0.0.1:{engine.port}", *flags) as server:
        engine.bodies.clear()
        ask(server, "think", max_tokens=40)
        ask(server, "think", max_tokens=100, response_format=SCHEMA)
    assert [body["thinking_token_budget"] for body in engine.bodies] == [20, 31, 31]


def test_a_schema_that_could_cost_the_gateway_is_not_looked_at() -> None:
    def named(schema: object) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"schema": schema}}

    message = {"content": '{"sum": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"}'}
    assert not usable(message, SCHEMA)
    for costly in (
        {"$ref": "http://127.0.0.1:9/never-asked"},
        {"$ref": "#"},
        {"properties": {"sum": {"pattern": "^(a+)+$"}}},
        {"type": 7},
    ):
        assert usable(message, named(costly))


def test_a_body_nested_too_deeply_is_refused(retrying: Server) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    refused = ask(retrying, "think", extra=deep)
    assert refused.status_code == 400
    assert "nested" in refused.json()["error"]["message"]


def test_a_connection_that_never_comes_is_an_engine_down() -> None:
    assert isinstance(failure_of(aiohttp.ConnectionTimeoutError()), EngineDown)
    assert isinstance(failure_of(aiohttp.SocketTimeoutError()), EngineTimeout)


def test_a_second_try_that_fails_leaves_the_first_as_it_was_told(retrying: Server) -> None:
    response = ask(retrying, "think_once", max_tokens=40)
    assert response.status_code == 200
    told = response.json()["tops"]
    assert (told["budget"], told["thinking_tokens"], told["budget_hit"]) == (20, 20, True)
    assert response.headers["x-tops-budget"] == "20"


@pytest.fixture(scope="module")
def retrying(engine: ScriptedEngine) -> Generator[Server]:
    url = f"http://127.0.0.1:{engine.port}"
    with serving("--upstream", url, "--retry-budget-factor", "2.5") as server:
        yield server


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


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_the_engine_s_request(
    front: Server, engine: ScriptedEngine, stream: bool
) -> None:
    engine.cancelled.clear()
    what = "endless" if stream else "wait"
    body = {"messages": [{"role": "user", "content": what}], "stream": stream}
    if stream:
        with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body) as response:
            next(response.iter_raw())
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{front.url}/v1/chat/completions", json=body, timeout=0.5)
    assert engine.cancelled.wait(5)
    assert front.logged('"status":499')


def test_chunks_arrive_as_they_come(front: Server) -> None:
    body = {"messages": [{"role": "user", "content": "stall"}], "stream": True}
    with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body) as response:
        blocks = response.iter_raw()
        assert next(blocks) == CHUNK
        assert b'"error"' in next(blocks)


def test_a_client_that_reads_slowly_slows_the_engine(front: Server, engine: ScriptedEngine) -> None:
    body = {"messages": [{"role": "user", "content": "flood"}], "stream": True}
    with httpx.stream("POST", f"{front.url}/v1/chat/completions", json=body) as response:
        next(response.iter_raw())
        seen, deadline = -1, time.monotonic() + 20
        while seen != engine.flooded:
            assert time.monotonic() < deadline, "the gateway keeps reading what nobody takes"
            seen = engine.flooded
            time.sleep(1)


def test_draining_is_bounded_by_its_setting(engine: ScriptedEngine) -> None:
    with serving(
        "--upstream", f"http://127.0.0.1:{engine.port}", "--shutdown-timeout", "1"
    ) as server:
        body = {"messages": [{"role": "user", "content": "endless"}], "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
            blocks = response.iter_raw()
            next(blocks)
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            rest = b"".join(blocks)
            server.process.wait(10)
            assert time.monotonic() - begun < 6
        assert b'"code":"stopping"' in rest.split(b"\n\n")[-2]
        assert server.logged('"status":503')
        assert not server.logged("Traceback", 0)


def test_what_is_still_waited_for_when_draining_ends_is_told_so(engine: ScriptedEngine) -> None:
    with serving(
        "--upstream", f"http://127.0.0.1:{engine.port}", "--shutdown-timeout", "1"
    ) as server:
        body = {"messages": [{"role": "user", "content": "hang"}]}
        answers: list[httpx.Response] = []
        url = f"{server.url}/v1/chat/completions"
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body)))
        asking.start()
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        asking.join(10)
        assert answers[0].status_code == 503
        assert answers[0].json()["error"]["code"] == "stopping"
        assert not server.logged("Traceback", 0)


def raw(front: Server, request: bytes, seconds: float = 10) -> bytes:
    host, port = front.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(request)
        received = b""
        while block := connection.recv(65536):
            received += block
            if b"}" in received:
                break
        return received


def test_a_body_that_never_ends_is_408(front: Server) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
    answer = raw(front, head)
    assert b" 408 " in answer
    assert b"not complete" in answer


def test_a_body_that_is_too_large_is_413(front: Server) -> None:
    error = is_envelope(ask(front, "x" * 300_000), 413)
    assert "200000 bytes" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "says"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "JSON"),
        ("POST", "/v1/chat/completions", b"[]", 400, "object"),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400, "JSON"),
        ("POST", "/v1/chat/completions", b"", 400, "JSON"),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400, "messages"),
        ("POST", "/v1/route", b'{"messages": []}', 400, "messages"),
        ("GET", "/v1/chat/completions", b"", 405, "GET"),
        ("POST", "/v1/models", b"", 405, "POST"),
        ("GET", "/v2/nothing", b"", 404, "/v2/nothing"),
        (
            "POST",
            "/v1/chat/completions",
            b'{"model": "other", "messages": [{"role": "user", "content": "x"}]}',
            404,
            "'scripted'",
        ),
    ],
)
def test_bad_requests(
    front: Server, method: str, path: str, content: bytes, status: int, says: str
) -> None:
    response = httpx.request(method, front.url + path, content=content)
    assert says in is_envelope(response, status)["message"]
    assert "x-request-id" in response.headers
    assert ask(front, "complete").status_code == 200
