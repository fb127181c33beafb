"""`POST /v1/chat/completions`: one request flows down `_answer`, a stage a line."""

import time
from typing import Any, cast

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from server.asked import Asked, parse_asked
from server.body import read_object
from server.decision import Decider, Decision
from server.disconnect import ClientDisconnected, unless_left
from server.echo import echo_headers
from server.engine import Engine, Reply
from server.errors import EngineError, EngineFailed, error_event
from server.exchange import Accounts, Exchange
from server.keys import Keys
from server.relay import Relay
from server.rewrite import rewrite
from server.settings import Settings
from server.usage import read_usage


class ChatCompletions:
    """The endpoint, an ASGI application of its own: it streams without a layer in between."""

    def __init__(
        self, settings: Settings, keys: Keys, decider: Decider, engine: Engine, accounts: Accounts
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._decider = decider
        self._engine = engine
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or raise a GatewayError before the first byte."""
        try:
            with self._accounts.open(scope["state"]["request_id"]) as exchange:
                await self._answer(exchange, scope, receive, send)
        except ClientDisconnected:
            return

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        caller = self._keys.caller(headers)
        exchange.caller = caller.name
        with caller.slot():
            settings = self._settings
            body = await read_object(receive, settings.max_body_bytes, settings.body_seconds)
            exchange.read = time.perf_counter()
            asked = parse_asked(body, headers)
            served = self._engine.served_as(asked.model)
            decision = self._decider.decide(asked, caller, served, self._accounts.load())
            self._note(exchange, asked, decision, served.model)
            sent = rewrite(asked, decision, served.model)
            await unless_left(receive, self._forward(exchange, sent, asked, send))

    def _note(self, exchange: Exchange, asked: Asked, decision: Decision, model: str) -> None:
        exchange.decided = time.perf_counter()
        exchange.model, exchange.decision = model, decision
        exchange.choices, exchange.stream = asked.n, asked.stream
        if self._settings.log_prompts:
            exchange.prompt = orjson.dumps(asked.messages).decode()

    async def _forward(
        self, exchange: Exchange, sent: dict[str, Any], asked: Asked, send: Send
    ) -> None:
        exchange.forwarded = time.perf_counter()
        async with self._engine.complete(sent, exchange.request_id) as reply:
            if reply.status == 200 and asked.stream:
                await _relay_stream(exchange, reply, asked.include_usage, send)
            else:
                await _relay_whole(exchange, reply, send)


async def _relay_stream(exchange: Exchange, reply: Reply, include_usage: bool, send: Send) -> None:
    """Send the engine's events on; once the first byte is out, an error is an event."""
    block = await reply.block()
    if not reply.is_stream or not block:
        raise EngineFailed("the engine answered a streaming request with something else")
    exchange.first_byte = time.perf_counter()
    relay = Relay(include_usage, exchange.account)
    await _start(exchange, 200, b"text/event-stream; charset=utf-8", send)
    try:
        while block:
            if out := relay.feed(block):
                await send({"type": "http.response.body", "body": out, "more_body": True})
            block = await reply.block()
        if not (relay.complete or relay.failed):
            raise EngineFailed("the engine's stream ended before it was complete")
        rest = relay.finish()
    except EngineError as error:
        exchange.status = error.status
        rest = relay.finish() + error_event(error)
    if relay.failed:
        exchange.status = EngineFailed.status
    await send({"type": "http.response.body", "body": rest})


async def _relay_whole(exchange: Exchange, reply: Reply, send: Send) -> None:
    """Send the engine's whole answer on: a completion with `tops` added, or its own error."""
    raw = await reply.read()
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        answer = None
    if reply.status == 200 and isinstance(answer, dict) and "choices" in answer:
        completion = cast("dict[str, Any]", answer)
        tops = exchange.account(read_usage(completion))
        raw = orjson.dumps({**completion, "tops": tops})
    elif reply.status < 400 or not isinstance(answer, dict) or "error" not in answer:
        raise EngineFailed(f"the engine answered HTTP {reply.status} with something unreadable")
    exchange.status = reply.status
    await _start(exchange, reply.status, b"application/json", send, len(raw))
    await send({"type": "http.response.body", "body": raw})


async def _start(
    exchange: Exchange, status: int, content_type: bytes, send: Send, length: int | None = None
) -> None:
    assert exchange.decision is not None
    headers = [(b"content-type", content_type), (b"cache-control", b"no-cache")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    for name, value in echo_headers(exchange.decision).items():
        headers.append((name.encode(), value.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
