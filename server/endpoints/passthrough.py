"""Forwards requests that need no decision: embeddings, token counts, and see `completions`."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from server.api import messages
from server.api.chat import error_event
from server.api.completion_relay import CompletionRelay
from server.api.context_overflow import openai_refusal
from server.api.fields import string
from server.api_keys import ApiKeys, Caller
from server.endpoints.answer import bare_refusal
from server.endpoints.respond import send_json
from server.endpoints.stream import relay_stream
from server.engines.call import Call
from server.engines.dialect import CHAT
from server.engines.fleet import Fleet
from server.engines.reply import ENDING_SECONDS, is_unknown_path, parse_json
from server.engines.reported_error import chat_error
from server.errors import BadRequest, EngineFailed, NoSuchEndpoint
from server.http.body import BodyReader
from server.http.disconnect import CancelOnDisconnect
from server.http.json_codec import as_object, dumps
from server.http.timeouts import TimeoutPool
from server.lifecycle.endpoint import TrackedEndpoint
from server.lifecycle.record import RequestRecord
from server.lifecycle.tracker import RequestTracker
from server.limits.key_limits import KeyLimits


class Passthrough(TrackedEndpoint):
    """The endpoint of one path; keys, limits, failover and tracking are as in `reasoning`."""

    def __init__(
        self,
        path: str,
        bodies: BodyReader,
        keys: ApiKeys,
        limits: KeyLimits,
        fleet: Fleet,
        tracker: RequestTracker,
    ) -> None:
        super().__init__(tracker)
        self._path = path
        self._is_message = path.startswith(messages.PATH)
        self._bodies = bodies
        self._keys = keys
        self._limits = limits
        self._fleet = fleet
        self._endings = TimeoutPool(ENDING_SECONDS)

    async def _respond(
        self, record: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = Headers(scope=scope)
        caller = self._keys.caller(headers)
        record.caller = caller.name
        with caller.limit():
            body = await self._bodies.read(receive)
            record.body_read_at = time.perf_counter()
            record.model = self._served_model(string(body, "model"))
            forwarded = {**self._rewrite(body, headers, caller), "model": record.model}
            if caller.limits:
                charge = await self._limits.admit(caller, None, self._is_message)
                record.limit_headers = charge.headers(self._is_message)
            call = Call(self._path, record.engine_headers, lambda _: forwarded)
            with CancelOnDisconnect(scope, receive):
                await self._forward(record, call, _expected_choices(body), send)

    def _served_model(self, name: str | None) -> str:
        """The engine's name of the model; only Messages may have an effort behind it here."""
        model_info = self._fleet.resolve_model(name)
        model = model_info.model
        if name is not None and model_info.effort_suffix(name) and not self._is_message:
            raise BadRequest(
                f"an effort behind the model's name does not apply to /v1{self._path}: name "
                f"'{model}', or use /v1{CHAT}",
                "model",
            )
        return model

    def _rewrite(
        self,
        body: dict[str, Any],
        headers: Mapping[str, str],  # noqa: ARG002
        caller: Caller,  # noqa: ARG002
    ) -> dict[str, Any]:
        """The body for the engine."""
        return body

    async def _forward(self, record: RequestRecord, call: Call, choices: int, send: Send) -> None:
        if record.trace is not None:
            record.trace.begin_engine(record)
            call = replace(call, headers=record.engine_headers)
        async with await self._fleet.send(call) as in_flight:
            if record.trace is not None:
                record.trace.name_engine(in_flight.engine.name)
            reply, record.status = in_flight.reply, in_flight.reply.status
            if reply.is_stream and record.status == 200:
                relay = CompletionRelay(choices, lambda _: {}, error_event)
                await relay_stream(record, reply, relay, self._endings, send)
                return
            raw = await reply.read()
        answer: object = parse_json(raw)
        fields = as_object(answer)
        if record.status == 404 and is_unknown_path(answer):
            raise NoSuchEndpoint(f"the engine has no /v1{self._path}")
        if record.status == 200 and (failure := chat_error(fields)):
            raise failure
        if "error" not in fields and (bare := bare_refusal(reply, raw)):
            fields = bare.envelope()
        elif answer is None or 300 <= record.status < 400:
            raise EngineFailed(f"the engine answered HTTP {record.status} without JSON")
        if record.status >= 400 and "error" in fields:
            context = self._fleet.resolve_model(None).context
            if self._is_message:
                raw = dumps(messages.refusal(fields, record.status, None, context))
            else:
                raw = dumps(openai_refusal(fields, context, "prompt"))
        await send_json(record, raw, send, reply.retry_after)


def _expected_choices(body: dict[str, Any]) -> int:
    """The answers that a completion request asks for: `n` of each prompt."""
    prompt, n = body.get("prompt"), body.get("n")
    prompts = cast("list[object]", prompt) if isinstance(prompt, list) else [prompt]
    several = isinstance(prompts[0] if prompts else 0, str | list)
    return (len(prompts) if several else 1) * (n if isinstance(n, int) and n > 0 else 1)
