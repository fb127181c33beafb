"""Forwards requests that need no decision: embeddings, token counts, and see `completions`."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from server.api.chat import error_event
from server.api.fields import string
from server.api_keys import ApiKeys, Caller
from server.endpoints.respond import EVENT_STREAM, end_at_shutdown, send_head, send_json
from server.engines.call import Call
from server.engines.fleet import Fleet
from server.engines.reply import Reply, is_unknown_path, parse_json
from server.errors import EngineError, EngineFailed, NoSuchEndpoint, Stopping
from server.http.body import BodyReader
from server.http.disconnect import cancel_on_disconnect
from server.http.sse import complete_events
from server.lifecycle.endpoint import TrackedEndpoint
from server.lifecycle.record import RequestRecord
from server.lifecycle.tracker import RequestTracker


class Passthrough(TrackedEndpoint):
    """The endpoint of one path; keys, limits, failover and tracking are as in `reasoning`."""

    def __init__(
        self, path: str, bodies: BodyReader, keys: ApiKeys, fleet: Fleet, tracker: RequestTracker
    ) -> None:
        super().__init__(tracker)
        self._path = path
        self._bodies = bodies
        self._keys = keys
        self._fleet = fleet

    async def _respond(
        self, record: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = Headers(scope=scope)
        caller = self._keys.caller(headers)
        record.caller = caller.name
        with caller.limit():
            body = await self._bodies.read(receive)
            record.body_read_at = time.perf_counter()
            record.model = self._fleet.resolve_model(string(body, "model")).model
            forwarded = {**self._rewrite(body, headers, caller), "model": record.model}
            call = Call(self._path, record.engine_headers, lambda _: forwarded)
            with cancel_on_disconnect(receive):
                await self._forward(record, call, send)

    def _rewrite(
        self,
        body: dict[str, Any],
        headers: Mapping[str, str],  # noqa: ARG002
        caller: Caller,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The body for the engine."""
        return body

    async def _forward(self, record: RequestRecord, call: Call, send: Send) -> None:
        async with await self._fleet.send(call) as in_flight:
            reply, record.status = in_flight.reply, in_flight.reply.status
            if reply.is_stream:
                await _relay_stream(record, reply, send)
                return
            raw = await reply.read()
        answer = parse_json(raw)
        if record.status == 404 and is_unknown_path(answer):
            raise NoSuchEndpoint(f"the engine has no /v1{self._path}")
        if answer is None or 300 <= record.status < 400:
            raise EngineFailed(f"the engine answered HTTP {record.status} without JSON")
        await send_json(record, raw, send, reply.retry_after)


async def _relay_stream(record: RequestRecord, reply: Reply, send: Send) -> None:
    await send_head(record, EVENT_STREAM, send)
    partial, record.first_byte_at = b"", time.perf_counter()

    async def sink(chunk: bytes) -> None:
        nonlocal partial
        chunk = partial + chunk
        events = complete_events(chunk)
        partial = chunk[len(events) :]
        if events:
            await send({"type": "http.response.body", "body": events, "more_body": True})

    end = b""
    try:
        await reply.stream_to(sink)
        end = partial
    except EngineError as error:  # a partial event is dropped
        record.status, end = error.status, error_event(error)
    except asyncio.CancelledError:  # the gateway stops, or the client has disconnected
        await end_at_shutdown(send, error_event(Stopping()))
        raise
    await send({"type": "http.response.body", "body": end})
