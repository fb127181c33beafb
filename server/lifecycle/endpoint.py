"""What all endpoints share whose requests have an account: opened, answered, closed once."""

import asyncio
import contextlib
from abc import ABC, abstractmethod

from starlette.types import Receive, Scope, Send

from server.decide.headers import decision_headers
from server.errors import Stopping
from server.http.disconnect import ClientDisconnected
from server.lifecycle.record import RequestRecord, RequestTracker

_LAST_WORD_SECONDS = 0.5


class TrackedEndpoint(ABC):
    """An endpoint, an ASGI application of its own: it streams without a layer in between."""

    def __init__(self, accounts: RequestTracker) -> None:
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or raise a GatewayError before the first byte."""
        exchange = None
        try:
            with self._accounts.open(scope["state"]["request_id"]) as exchange:
                await self._answer(exchange, scope, receive, send)
        except ClientDisconnected:
            return
        except Stopping:
            if exchange is None or exchange.first_byte is None:  # else its stream has told
                raise

    @abstractmethod
    async def _answer(
        self, exchange: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer the request of an exchange."""


async def last_word(send: Send, body: bytes) -> None:
    """End an answer while the gateway ends: a client that reads no more does not hold that up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_SECONDS):
            await send({"type": "http.response.body", "body": body})


async def start(
    exchange: RequestRecord,
    content_type: bytes,
    send: Send,
    length: int | None = None,
    retry_after: str | None = None,
) -> None:
    """Send an answer's head: status, the request's id, and the decision where there is one."""
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache"),
        (b"x-request-id", exchange.request_id.encode()),
    ]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    if exchange.decision is not None:
        headers += decision_headers(exchange.decision)
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
