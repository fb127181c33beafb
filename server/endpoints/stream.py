"""Relays an engine's event stream to the client; after its first byte, an error is an event."""

import asyncio
import time
from collections.abc import Callable

from starlette.types import Send

from server.api.relay import Relay
from server.endpoints.respond import EVENT_STREAM, end_at_shutdown, send_head
from server.engines.reply import Reply
from server.errors import EngineError, EngineFailed, GatewayError, Stopping
from server.lifecycle.record import RequestRecord


async def relay_stream(
    record: RequestRecord,
    reply: Reply,
    relay: Relay,
    error_event: Callable[[GatewayError], bytes],
    send: Send,
) -> None:
    """Send the engine's events to the client as they arrive.

    Args:
        record: the request; gets the time of the first byte, and the status of an error.
        reply: the engine's, begun.
        relay: rewrites the events of the API that is spoken.
        error_event: the API's form of an error within a stream.
        send: ASGI's.

    Raises:
        EngineFailed: the reply is not a stream, or is empty; nothing has been sent yet.
    """
    chunk = await reply.next_chunk()
    if not reply.is_stream or not chunk:
        raise EngineFailed("the engine did not answer a streaming request with a stream")
    record.first_byte_at = time.perf_counter()
    await send_head(record, EVENT_STREAM, send)

    async def sink(chunk: bytes) -> None:
        if events := relay.feed(chunk):
            await send({"type": "http.response.body", "body": events, "more_body": True})

    try:
        await sink(chunk)
        await reply.stream_to(sink)
        if not (relay.complete or relay.failed):
            raise EngineFailed("the engine's stream ended before it was complete")
        end = relay.finish()
    except EngineError as error:
        end = relay.finish()
        if not relay.complete:  # after a complete stream only the connection's end is missing
            record.status = error.status
            end += error_event(error)
    except asyncio.CancelledError:  # the gateway stops, or the client has disconnected
        await end_at_shutdown(send, relay.finish() + error_event(Stopping()))
        raise
    if relay.failed:
        record.status = EngineFailed.status
    await send({"type": "http.response.body", "body": end})
