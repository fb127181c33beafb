"""What needs no decision is passed on to an engine as it is: completions, embeddings, counts."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from server.api.chat import error_event
from server.api.fields import string
from server.api_keys import ApiKeys
from server.engines.call import Call
from server.engines.fleet import Fleet
from server.engines.reply import Reply, is_unknown_path, parse_json
from server.errors import EngineError, EngineFailed, NoSuchEndpoint, Stopping
from server.http.body import BodyReader
from server.http.disconnect import cancel_on_disconnect
from server.http.sse import complete_events
from server.lifecycle.endpoint import TrackedEndpoint, last_word, start
from server.lifecycle.record import RequestRecord, RequestTracker


class Passthrough(TrackedEndpoint):
    """One path that needs no decision; keys, limits, failover and the account are as elsewhere."""

    def __init__(
        self, path: str, bodies: BodyReader, keys: ApiKeys, fleet: Fleet, accounts: RequestTracker
    ) -> None:
        super().__init__(accounts)
        self._path = path
        self._bodies = bodies
        self._keys = keys
        self._fleet = fleet

    async def _answer(
        self, exchange: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        caller = self._keys.caller(Headers(scope=scope))
        exchange.caller = caller.name
        with caller.slot():
            body = await self._bodies.read(receive)
            exchange.read = time.perf_counter()
            exchange.model = self._fleet.resolve_model(string(body, "model")).model
            sent = {**body, "model": exchange.model}
            call = Call(self._path, exchange.request_id, lambda _: sent)
            await cancel_on_disconnect(receive, self._forward(exchange, call, send))

    async def _forward(self, exchange: RequestRecord, call: Call, send: Send) -> None:
        async with await self._fleet.send(call) as sent:
            reply, exchange.status = sent.reply, sent.reply.status
            if reply.is_stream:
                await _relay(exchange, reply, send)
                return
            raw = await reply.read()
        answer = parse_json(raw)
        if exchange.status == 404 and is_unknown_path(answer):
            raise NoSuchEndpoint(f"the engine has no /v1{self._path}")
        if answer is None or 300 <= exchange.status < 400:
            raise EngineFailed(f"the engine answered HTTP {exchange.status} with no JSON")
        await start(exchange, b"application/json", send, len(raw), reply.retry_after)
        await send({"type": "http.response.body", "body": raw})


async def _relay(exchange: RequestRecord, reply: Reply, send: Send) -> None:
    await start(exchange, b"text/event-stream; charset=utf-8", send)
    rest, exchange.first_byte = b"", time.perf_counter()

    async def sink(block: bytes) -> None:
        nonlocal rest
        block = rest + block
        whole = complete_events(block)
        rest = block[len(whole) :]
        if whole:
            await send({"type": "http.response.body", "body": whole, "more_body": True})

    try:
        await reply.stream_to(sink)
    except EngineError as error:  # half an event is dropped
        exchange.status, rest = error.status, error_event(error)
    except asyncio.CancelledError:  # the gateway ends; who left does not hear it
        await last_word(send, error_event(Stopping()))
        raise
    await send({"type": "http.response.body", "body": rest})
