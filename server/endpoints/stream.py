"""Relays an engine's event stream to the client; after its first byte, an error is an event."""

import asyncio
import time

from starlette.types import Send

from server.api.relay import Relay, answers
from server.api.thought_meter import ThoughtMeter
from server.endpoints.given_answer import BATCH, GivenAnswer
from server.endpoints.respond import EVENT_STREAM, end_at_shutdown, send_head
from server.engines.reply import Pending, Reply, give
from server.errors import EngineError, EngineFailed, EngineTimeout, GatewayError, Stopping
from server.http.timeouts import Deadline, TimeoutPool
from server.lifecycle.record import RequestRecord


async def relay_stream(
    record: RequestRecord,
    reply: Reply,
    relay: Relay,
    endings: TimeoutPool,
    send: Send,
    given_answer: GivenAnswer | None = None,
    meter: ThoughtMeter | None = None,
) -> None:
    """Send the engine's events to the client as they arrive.

    Args:
        record: the request; gets the times of the first byte and of the answer's first, and the
            status of an error.
        reply: the engine's, begun.
        relay: rewrites the events of the API that is spoken.
        endings: time-outs of ENDING_SECONDS.
        send: ASGI's.
        given_answer: reads the answer, so that a later turn is recognised by it; None for an API
            whose requests have no history.
        meter: estimates what was thought; None where nobody needs that.

    Raises:
        EngineFailed: the reply is not a stream, or is empty; nothing has been sent yet.
    """
    first_chunk = await reply.next_chunk()
    if not reply.is_stream or not first_chunk:
        raise EngineFailed("the engine did not answer a streaming request with a stream")
    record.first_byte_at = time.perf_counter()
    if not record.head_sent:
        await send_head(record, EVENT_STREAM, send)
    deadline, failure, reading = endings.deadline(), None, given_answer
    write, record.write_chunk = record.write_chunk, None

    def sink(chunk: bytes) -> Pending | None:
        nonlocal reading
        if meter is not None:
            meter.feed(chunk)
        events, is_ending, pending = relay.pass_on(chunk), False, None
        is_thought = events is not None and relay.passes_thoughts
        if events is None:
            events, is_ending = relay.feed(chunk), relay.is_ending
            if is_ending:  # the time that the client takes is not the engine's
                deadline.pause()
        if events:
            if record.first_answer_at is None and not is_thought and answers(events):
                record.first_answer_at = time.perf_counter()
            if reading is not None and not is_thought:
                unread = reading.unread
                unread.append(events)
                if (len(unread) >= BATCH or reading.ending) and not reading.read():
                    reading = None
            if write is None or not write(events):
                pending = _send(events, send, deadline if is_ending else None)
        if is_ending and pending is None:
            deadline.resume()
        return pending

    try:
        with deadline:
            await give(sink, first_chunk)
            await reply.stream_to(sink)
    except EngineError as error:
        failure = error
    except TimeoutError:
        failure = EngineTimeout("the engine did not end its stream after the answer's end")
    except asyncio.CancelledError:  # the gateway stops, or the client has disconnected
        record.delivered = relay.settled
        await end_at_shutdown(send, _last_events(record, relay, Stopping()))
        raise
    finally:
        if reading is not None:
            reading.end()
    await send({"type": "http.response.body", "body": _last_events(record, relay, failure)})


async def _send(events: bytes, send: Send, deadline: Deadline | None) -> None:
    """Send events to a client that reads slowly; the deadline, if any, goes on after that."""
    await send({"type": "http.response.body", "body": events, "more_body": True})
    if deadline is not None:
        deadline.resume()


def _last_events(record: RequestRecord, relay: Relay, failure: GatewayError | None) -> bytes:
    """The end of the stream; its error, if any, becomes the request's status."""
    events = relay.finish(failure)
    if relay.error is not None:
        record.status = relay.error.status
    return events
