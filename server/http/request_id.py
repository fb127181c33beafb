"""Gives each request an id: the client's `x-request-id` where it is valid, else one of our own."""

import random
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.body import close_unread
from server.http.trace_context import trace_headers

_VALID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_READ = frozenset((b"x-request-id", b"traceparent"))


_HEADERS, _ANTHROPIC_HEADERS = (b"x-request-id",), (b"x-request-id", b"request-id")


def id_headers(path: str) -> tuple[bytes, ...]:
    """The response headers that have the id: Anthropic's clients look for one of their own."""
    return _ANTHROPIC_HEADERS if path.startswith("/v1/messages") else _HEADERS


def assign_request_id(scope: Scope) -> str:
    """The id of a request, also stored as `scope["state"]["request_id"]`.

    `scope["state"]["engine_headers"]` are the headers that the engine gets: the id, and the trace
    that the request belongs to.
    """
    headers = {name: value for name, value in scope["headers"] if name in _READ}
    text = headers.get(b"x-request-id", b"").decode("latin-1")
    request_id = text if _VALID.fullmatch(text) else _new_id()
    engine_headers = {"x-request-id": request_id}
    if b"traceparent" in headers:
        engine_headers |= trace_headers(scope["headers"])
    state = scope.setdefault("state", {})
    state["request_id"], state["engine_headers"] = request_id, engine_headers
    return request_id


def _new_id() -> str:
    """The time in milliseconds and a random number: the ledger's index grows at its end then.

    Ids must be distinct, not secret: the system's random numbers would cost 20 us per id. Workers
    differ: Python seeds `random` anew after a fork.
    """
    return f"req_{int(1_000 * time.time()):012x}{random.getrandbits(48):012x}"


class RequestId:
    """Middleware that sends the request's id back as the header `x-request-id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"].encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                close_unread(scope)
                headers = [(name, request_id) for name in id_headers(scope["path"])]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        await self._app(scope, receive, send_with_id)
