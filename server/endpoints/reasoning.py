"""The endpoints that think: one request flows down `_answer`, a stage a line, whatever its API."""

import asyncio
import time
from contextlib import suppress
from typing import Any, cast

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from router.conversation import conversation_key
from server.api.protocol import Api
from server.api.request import ParsedRequest
from server.api_keys import ApiKeys
from server.config.settings import Settings
from server.decide.decision import Decider, Decision
from server.decide.enforcement import check_budget
from server.endpoints.budget_retry import BudgetRetry, summed
from server.engines.call import Call
from server.engines.dialect import CHAT
from server.engines.fleet import Fleet
from server.engines.reply import Reply, is_unknown_path, parse_json
from server.engines.usage import read_usage
from server.errors import (
    EngineError,
    EngineFailed,
    EngineRefused,
    GatewayError,
    NoSuchEndpoint,
    Stopping,
)
from server.http.body import BodyReader
from server.http.disconnect import cancel_on_disconnect
from server.lifecycle.endpoint import TrackedEndpoint, last_word, start
from server.lifecycle.record import RequestRecord, RequestTracker


class Endpoint(TrackedEndpoint):
    """One API's endpoint."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        bodies: BodyReader,
        keys: ApiKeys,
        decider: Decider,
        fleet: Fleet,
        accounts: RequestTracker,
    ) -> None:
        super().__init__(accounts)
        self._api = api
        self._settings = settings
        self._bodies = bodies
        self._keys = keys
        self._decider = decider
        self._fleet = fleet
        self._second_try = BudgetRetry(settings.retry_budget_factor)

    async def _answer(
        self, exchange: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = Headers(scope=scope)
        caller = self._keys.caller(headers)
        exchange.caller = caller.name
        with caller.slot():
            fleet, path = self._fleet, self._api.PATH
            body = await self._bodies.read(receive)
            exchange.read = time.perf_counter()
            asked = self._api.parse(body, headers)
            served = fleet.resolve_model(asked.model)
            decision = self._decider.decide(asked, caller, served, self._accounts.load())
            decision = check_budget(decision, asked, fleet.budget_support, fleet.dialect, path)
            self._note(exchange, asked, decision, served.model)
            await cancel_on_disconnect(receive, self._forward(exchange, asked, send))

    def _note(
        self, exchange: RequestRecord, asked: ParsedRequest, decision: Decision, model: str
    ) -> None:
        exchange.decided = time.perf_counter()
        exchange.model, exchange.decision = model, decision
        exchange.choices, exchange.stream = asked.n, asked.stream
        if self._settings.log_prompts:
            with suppress(orjson.JSONEncodeError):  # nested too deeply, for which it is refused
                exchange.prompt = orjson.dumps(asked.messages).decode()

    async def _forward(self, exchange: RequestRecord, asked: ParsedRequest, send: Send) -> None:
        exchange.forwarded = time.perf_counter()
        async with await self._fleet.send(self._call(exchange, asked)) as sent:
            reply, exchange.undershoot = sent.reply, sent.engine.budget_support.undershoot
            if reply.status == 200 and asked.stream:
                await self._relay_stream(exchange, reply, asked, send)
                return
            answer = _read_answer(self._api, await reply.read(), reply)
        exchange.status = reply.status
        if reply.status == 200:
            answer = await self._told(exchange, asked, answer, reply.cut)
        raw = orjson.dumps(answer)
        await start(exchange, b"application/json", send, len(raw), reply.retry_after)
        await send({"type": "http.response.body", "body": raw})

    def _call(self, exchange: RequestRecord, asked: ParsedRequest) -> Call:
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
            conversation_key(asked.messages) if self._fleet.has_alternatives else None,
        )

    async def _told(
        self,
        exchange: RequestRecord,
        asked: ParsedRequest,
        answer: dict[str, Any],
        cut: bool | None,
    ) -> dict[str, Any]:
        """The answer with `tops`; asked for once more where its budget left it without one."""
        tops = exchange.account(read_usage(answer), cut)
        larger = self._second_try.budget(exchange, asked, answer)
        if larger is not None:
            first = exchange.decision
            exchange.raise_budget(larger)
            try:
                async with await self._fleet.send(self._call(exchange, asked)) as sent:
                    reply, cut = sent.reply, sent.reply.cut
                    second = _read_answer(self._api, await reply.read(), reply)
            except GatewayError:
                second = {}
            if not self._api.is_answer(second):
                exchange.decision = first  # the first answer stands, as it was told
                return {**answer, "tops": tops}
            tops = exchange.account(read_usage(second), cut, second=True)
            answer = {**second, "usage": summed(answer.get("usage"), second.get("usage"))}
        return {**answer, "tops": tops}

    async def _relay_stream(
        self, exchange: RequestRecord, reply: Reply, asked: ParsedRequest, send: Send
    ) -> None:
        """Send the engine's events on; once the first byte is out, an error is an event."""
        block = await reply.next_chunk()
        if not reply.is_stream or not block:
            raise EngineFailed("the engine answered a streaming request with something else")
        exchange.first_byte = time.perf_counter()
        relay = self._api.relay(asked, lambda usage: exchange.account(usage, reply.cut))
        await start(exchange, b"text/event-stream; charset=utf-8", send)

        async def sink(block: bytes) -> None:
            if out := relay.feed(block):
                await send({"type": "http.response.body", "body": out, "more_body": True})

        try:
            await sink(block)
            await reply.stream_to(sink)
            if not (relay.complete or relay.failed):
                raise EngineFailed("the engine's stream ended before it was complete")
            rest = relay.finish()
        except EngineError as error:
            rest = relay.finish()
            if not relay.complete:  # else it lacks no more than the end of its connection
                exchange.status = error.status
                rest += self._api.error_event(error)
        except asyncio.CancelledError:  # the gateway ends; who left does not hear it
            await last_word(send, relay.finish() + self._api.error_event(Stopping()))
            raise
        if relay.failed:
            exchange.status = EngineFailed.status
        await send({"type": "http.response.body", "body": rest})


def _read_answer(api: Api, raw: bytes, reply: Reply) -> dict[str, Any]:
    """The engine's whole answer, or its own error.

    Raises:
        NoSuchEndpoint: the engine does not know the API.
        EngineRefused: it refused in words of its own.
        EngineFailed: it is neither.
    """
    answer, status = parse_json(raw), reply.status
    found = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    if status == 404 and api.PATH != CHAT and is_unknown_path(found):
        raise NoSuchEndpoint(f"the engine has no /v1{api.PATH}; use /v1{CHAT}")
    if api.is_answer(found) if status == 200 else status >= 400 and "error" in found:
        return found
    reason = found.get("message", found.get("detail"))  # SGLang's, FastAPI's
    if 400 <= status < 500 and reason:
        told = reason if isinstance(reason, str) else orjson.dumps(reason).decode()
        raise EngineRefused(told, status, reply.retry_after)
    raise EngineFailed(f"the engine answered HTTP {status} with something unreadable")
