"""The endpoints that think: one request flows down `_answer`, a stage a line, whatever its API."""

import asyncio
import time
from typing import Any, cast

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from router.conversation import conversation_key
from server.accounted import Accounted, start
from server.api.asked import Asked
from server.api.protocol import Api
from server.body import BodyReader
from server.decision import Decider, Decision
from server.disconnect import unless_left
from server.enforceable import enforceable
from server.engines.dialect import CHAT
from server.engines.fleet import Call, Fleet
from server.engines.reply import Reply, parsed
from server.errors import EngineError, EngineFailed, GatewayError, NoSuchEndpoint, Stopping
from server.exchange import Accounts, Exchange
from server.keys import Keys
from server.second_try import SecondTry, summed
from server.settings import Settings
from server.usage import read_usage


class Endpoint(Accounted):
    """One API's endpoint."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        bodies: BodyReader,
        keys: Keys,
        decider: Decider,
        fleet: Fleet,
        accounts: Accounts,
    ) -> None:
        super().__init__(accounts)
        self._api = api
        self._settings = settings
        self._bodies = bodies
        self._keys = keys
        self._decider = decider
        self._fleet = fleet
        self._second_try = SecondTry(settings.retry_budget_factor)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        caller = self._keys.caller(headers)
        exchange.caller = caller.name
        with caller.slot():
            fleet, path = self._fleet, self._api.PATH
            body = await self._bodies.read(receive)
            exchange.read = time.perf_counter()
            asked = self._api.parse(body, headers)
            served = fleet.served_as(asked.model)
            decision = self._decider.decide(asked, caller, served, self._accounts.load())
            decision = enforceable(decision, asked, fleet.binding, fleet.dialect, path)
            self._note(exchange, asked, decision, served.model)
            await unless_left(receive, self._forward(exchange, asked, send))

    def _note(self, exchange: Exchange, asked: Asked, decision: Decision, model: str) -> None:
        exchange.decided = time.perf_counter()
        exchange.model, exchange.decision = model, decision
        exchange.choices, exchange.stream = asked.n, asked.stream
        if self._settings.log_prompts:
            exchange.prompt = orjson.dumps(asked.messages).decode()

    async def _forward(self, exchange: Exchange, asked: Asked, send: Send) -> None:
        exchange.forwarded = time.perf_counter()
        async with await self._fleet.send(self._call(exchange, asked)) as sent:
            reply, exchange.slack = sent.reply, sent.engine.binding.slack
            if reply.status == 200 and asked.stream:
                await self._relay_stream(exchange, reply, asked, send)
                return
            answer = _read_answer(self._api, await reply.read(), reply.status)
            status = reply.status
        if status == 200:
            answer = await self._told(exchange, asked, answer)
        raw = orjson.dumps(answer)
        exchange.status = status
        await start(exchange, b"application/json", send, len(raw))
        await send({"type": "http.response.body", "body": raw})

    def _call(self, exchange: Exchange, asked: Asked) -> Call:
        decision = exchange.decision
        assert decision is not None
        dialect = self._fleet.dialect

        def write(budget: int | None) -> dict[str, Any]:
            return self._api.write(asked, decision.effort, budget, exchange.model, dialect)

        return Call(
            self._api.PATH,
            exchange.request_id,
            write,
            None if decision.effort == "none" else decision.budget,
            conversation_key(asked.messages) if self._fleet.several else None,
        )

    async def _told(
        self, exchange: Exchange, asked: Asked, answer: dict[str, Any]
    ) -> dict[str, Any]:
        """The answer with `tops`; asked for once more where its budget left it without one."""
        tops = exchange.account(read_usage(answer))
        larger = self._second_try.budget(exchange, asked, answer)
        if larger is not None:
            first = exchange.decision
            exchange.raise_budget(larger)
            try:
                async with await self._fleet.send(self._call(exchange, asked)) as sent:
                    reply = sent.reply
                    second = _read_answer(self._api, await reply.read(), reply.status)
            except GatewayError:
                second = {}
            if not self._api.is_answer(second):
                exchange.decision = first  # the first answer stands, as it was told
                return {**answer, "tops": tops}
            tops = exchange.account(read_usage(second), second=True)
            answer = {**second, "usage": summed(answer.get("usage"), second.get("usage"))}
        return {**answer, "tops": tops}

    async def _relay_stream(
        self, exchange: Exchange, reply: Reply, asked: Asked, send: Send
    ) -> None:
        """Send the engine's events on; once the first byte is out, an error is an event."""
        block = await reply.block()
        if not reply.is_stream or not block:
            raise EngineFailed("the engine answered a streaming request with something else")
        exchange.first_byte = time.perf_counter()
        relay = self._api.relay(asked, exchange.account)
        await start(exchange, b"text/event-stream; charset=utf-8", send)

        async def take(block: bytes) -> None:
            if out := relay.feed(block):
                await send({"type": "http.response.body", "body": out, "more_body": True})

        try:
            await take(block)
            await reply.pour(take)
            if not (relay.complete or relay.failed):
                raise EngineFailed("the engine's stream ended before it was complete")
            rest = relay.finish()
        except EngineError as error:
            exchange.status = error.status
            rest = relay.finish() + self._api.error_event(error)
        except asyncio.CancelledError:  # the gateway ends; who left does not hear it
            rest = relay.finish() + self._api.error_event(Stopping())
            await send({"type": "http.response.body", "body": rest})
            raise
        if relay.failed:
            exchange.status = EngineFailed.status
        await send({"type": "http.response.body", "body": rest})


def _read_answer(api: Api, raw: bytes, status: int) -> dict[str, Any]:
    """The engine's whole answer, or its own error.

    Raises:
        NoSuchEndpoint: the engine does not know the API.
        EngineFailed: it is neither.
    """
    if status == 404 and api.PATH != CHAT:  # its model is there, or it would not be up
        raise NoSuchEndpoint(f"the engine has no /v1{api.PATH}; use /v1{CHAT}")
    answer = parsed(raw)
    if isinstance(answer, dict):
        found = cast("dict[str, Any]", answer)
        if api.is_answer(found) if status == 200 else status >= 400 and "error" in found:
            return found
    raise EngineFailed(f"the engine answered HTTP {status} with something unreadable")
