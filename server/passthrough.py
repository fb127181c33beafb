"""What needs no decision is passed on to an engine as it is: completions, embeddings, counts."""

import asyncio
import time
from collections.abc import Awaitable

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from server.accounted import Accounted, start
from server.api.chat import error_event
from server.api.fields import string
from server.body import BodyReader
from server.disconnect import unless_left
from server.engines.fleet import Call, Fleet
from server.engines.reply import Reply, parsed
from server.errors import EngineError, EngineFailed, NoSuchEndpoint, Stopping
from server.exchange import Accounts, Exchange
from server.keys import Keys


class Passthrough(Accounted):
    """One path that needs no decision; keys, limits, failover and the account are as elsewhere."""

    def __init__(
        self, path: str, bodies: BodyReader, keys: Keys, fleet: Fleet, accounts: Accounts
    ) -> None:
        super().__init__(accounts)
        self._path = path
        self._bodies = bodies
        self._keys = keys
        self._fleet = fleet

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._keys.caller(Headers(scope=scope))
        exchange.caller = caller.name
        with caller.slot():
            body = await self._bodies.read(receive)
            exchange.read = time.perf_counter()
            exchange.model = self._fleet.served_as(string(body, "model")).model
            sent = {**body, "model": exchange.model}
            call = Call(self._path, exchange.request_id, lambda _: sent)
            await unless_left(receive, self._forward(exchange, call, send))

    async def _forward(self, exchange: Exchange, call: Call, send: Send) -> None:
        async with await self._fleet.send(call) as sent:
            reply, exchange.status = sent.reply, sent.reply.status
            if reply.is_stream:
                await _relay(exchange, reply, send)
                return
            raw = await reply.read()
        if exchange.status == 404:  # its model is there, or it would not be up
            raise NoSuchEndpoint(f"the engine has no /v1{self._path}")
        if parsed(raw) is None or 300 <= exchange.status < 400:
            raise EngineFailed(f"the engine answered HTTP {exchange.status} with no JSON")
        await start(exchange, b"application/json", send)
        await send({"type": "http.response.body", "body": raw})


async def _relay(exchange: Exchange, reply: Reply, send: Send) -> None:
    await start(exchange, b"text/event-stream; charset=utf-8", send)
    rest, exchange.first_byte = b"", time.perf_counter()

    def take(block: bytes) -> Awaitable[None]:
        return send({"type": "http.response.body", "body": block, "more_body": True})

    try:
        await reply.pour(take)
    except EngineError as error:
        exchange.status, rest = error.status, error_event(error)
    except asyncio.CancelledError:  # the gateway ends; who left does not hear it
        await send({"type": "http.response.body", "body": error_event(Stopping())})
        raise
    await send({"type": "http.response.body", "body": rest})
