"""Sends the canaries' requests to an engine: not counted as in flight, not retried, no ledger."""

from contextlib import aclosing
from functools import partial
from typing import Any

from server.engines.assemble import assemble
from server.engines.canary import ProbeReply
from server.engines.counted_reply import CountedReply, counted
from server.engines.dialect import CHAT, Dialect
from server.engines.engine import Engine
from server.engines.reply import parse_json
from server.engines.two_phase import TwoPhase
from server.http.sse import events

_UNLIMITED = {"x-tops-budget": "-1"}
"""Has an engine that is a gateway itself leave out the budgets of its router; others ignore it."""


async def ask(
    engine: Engine,
    dialect: Dialect,
    body: dict[str, Any],
    budget: int | None = None,
    unlimited: bool = False,
) -> ProbeReply:
    """The engine's reply to a chat body; a budget is enforced in two phases.

    `unlimited` has an engine that is a gateway set no budget of its own.

    Sets `engine.reports_thinking`.

    Raises:
        EngineError: the engine did not answer.
    """
    headers = {"x-request-id": "canary"} | (_UNLIMITED if unlimited else {})
    post = partial(engine.post, CHAT, headers=headers)
    if budget is None:
        reply = counted(engine, post(body), CHAT)
    else:
        assert dialect.resume is not None
        reply = TwoPhase(post, body, budget, dialect.resume, engine.count_tokens)
    async with aclosing(reply):
        await reply.begin()
        method = reply.method if isinstance(reply, TwoPhase) else None
        if isinstance(reply, CountedReply) and reply.has_counted:
            engine.reports_thinking = False
        if method is None and reply.status == 200 and reply.is_stream:
            return ProbeReply(200, await assemble(events(reply.next_chunk)))
        return ProbeReply(reply.status, parse_json(await reply.read()), method)
