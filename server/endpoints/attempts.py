"""Settles the initial attempt of a composite effort: it is the answer, or the final one is due.

It is read wholly before the client gets anything, since usage says only at its end whether the
budget was hit. A stream that waits long for that begins with comments, so that nobody on its way
takes it for dead.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Send

from server.api.protocol import Api
from server.api.request import ParsedRequest
from server.decide.decision import Decision
from server.endpoints.respond import EVENT_STREAM, end_at_shutdown, send_head
from server.engines.in_flight import InFlight
from server.engines.reply import parse_json
from server.engines.usage import Usage, read_usage
from server.engines.whole_reply import WholeReply
from server.errors import Stopping
from server.http.json_codec import as_object
from server.lifecycle.record import RequestRecord

HEARTBEAT_SECONDS = 10.0
"""Below the 30 seconds of the strictest common proxies."""

_MISCOUNTED_TOKENS = 2
"""By which a count of the thinking's text may be below the tokens that the engine generated."""

_HEARTBEAT = b": the initial attempt of a composite effort is not the answer yet\n\n"


async def is_answer(
    in_flight: InFlight, api: Api, record: RequestRecord, request: ParsedRequest
) -> bool:
    """Read the initial attempt; whether the client gets it, because it did not hit its budget.

    It then is `in_flight`, replayed; otherwise it is ended. An error of the engine's is passed on
    like that of any other request. Where nobody knows whether the budget was hit, the client gets
    the answer of the dear effort.

    Raises:
        EngineError: the engine failed while it answered.
    """
    try:
        reply = await WholeReply.of(in_flight.reply)
        usage, is_whole = _reported(reply, api, request)
    except BaseException as error:
        await in_flight.end(error)
        raise
    decision = record.decision
    assert decision is not None
    record.was_held = True
    record.record_usage(usage, reply.cut)
    if _is_hit(decision, record, reply) and (is_whole or reply.cut):
        await in_flight.end()
        return False
    in_flight.reply = reply
    record.decision = decision._replace(final=None)
    return True


def _is_hit(decision: Decision, record: RequestRecord, reply: WholeReply) -> bool:
    """Whether the attempt has hit its budget, or may have hit it while the dear effort is due."""
    if reply.cut is not None:
        return reply.cut
    usage = record.final_usage
    if usage is None or usage.thinking is None:
        return decision.composite is not None and decision.composite.kind == "stop"
    tolerance = record.undershoot + _MISCOUNTED_TOKENS
    return decision.budget is not None and usage.thinking >= decision.budget - tolerance


def _reported(reply: WholeReply, api: Api, request: ParsedRequest) -> tuple[Usage | None, bool]:
    """The usage that a reply reports, and whether it is an answer without an error."""
    if reply.status != 200 or reply.is_stream != request.stream:
        return None, False
    if not reply.is_stream:
        answer = as_object(parse_json(b"".join(reply.chunks)))
        return read_usage(answer), api.is_answer(answer) and api.failure(answer) is None
    reported: list[Usage | None] = [None]

    def note(usage: Usage | None) -> dict[str, Any]:
        reported.append(usage)
        return {}

    relay = api.relay(request, note, "none")
    for chunk in reply.chunks:
        relay.feed(chunk)
    relay.finish()
    return reported[-1], relay.error is None


@asynccontextmanager
async def heartbeat(record: RequestRecord, api: Api, send: Send) -> AsyncGenerator[None]:
    """Keep the client's stream alive within the block, from its first HEARTBEAT_SECONDS on."""
    task = asyncio.create_task(_beat(record, send), name="heartbeat")
    try:
        yield
    except asyncio.CancelledError:  # the gateway stops, or the client has disconnected
        if record.head_sent:
            await end_at_shutdown(send, api.error_event(Stopping()))
        raise
    finally:
        task.cancel()


async def _beat(record: RequestRecord, send: Send) -> None:
    with contextlib.suppress(OSError):  # the client has disconnected, which ends the request
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if not record.head_sent:
                await send_head(record, EVENT_STREAM, send)
            body = {"type": "http.response.body", "body": _HEARTBEAT, "more_body": True}
            await send(body)
