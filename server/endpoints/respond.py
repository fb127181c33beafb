"""Sends a response over ASGI: its head, a whole body, or the end of a stream at shutdown."""

import asyncio
import contextlib

from starlette.types import Send

from server.decide.headers import decision_headers
from server.lifecycle.record import RequestRecord

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"

_SHUTDOWN_SEND_SECONDS = 0.5


async def send_head(
    record: RequestRecord,
    content_type: bytes,
    send: Send,
    body: bytes | None = None,
    retry_after: str | None = None,
) -> None:
    """Send status and headers: the request's id, and the decision where there is one.

    Args:
        record: the request; its status is sent.
        content_type: of the body.
        send: ASGI's.
        body: sent too, where the server takes both at once; None for a stream.
        retry_after: the engine's header of that name.
    """
    headers = [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache"),
    ]
    headers += [(name, record.request_id.encode()) for name in record.id_headers]
    if body is not None:
        headers.append((b"content-length", b"%d" % len(body)))
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    headers += record.limit_headers
    record.limit_headers = ()
    if record.decision is not None:
        attempts = record.attempts if record.decision.final is None else None
        headers += decision_headers(record.decision, attempts)
    record.head_sent = True
    begin, record.begin_response = record.begin_response, None
    if begin is not None:
        record.write_chunk = begin(record.status, headers, body)
    if record.write_chunk is None:
        await send({"type": "http.response.start", "status": record.status, "headers": headers})
        if body is not None:
            await send({"type": "http.response.body", "body": body})


async def send_json(record: RequestRecord, raw: bytes, send: Send, retry_after: str | None) -> None:
    """Send a whole response, whose JSON is `raw`."""
    await send_head(record, JSON, send, raw, retry_after)
    record.write_chunk = None


async def end_at_shutdown(send: Send, events: bytes) -> None:
    """End a stream while the gateway stops, without waiting for a client that does not read."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SHUTDOWN_SEND_SECONDS):
            await send({"type": "http.response.body", "body": events})
