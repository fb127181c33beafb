"""Chooses how a request is sent, so that its budget holds and its thinking ends in an answer."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from server.engines.call import Call
from server.engines.continuing import chat, messages, responses
from server.engines.continuing.api import ContinuedApi
from server.engines.continuing.prefix import mentions_open_block
from server.engines.continuing.reply import ContinuedReply
from server.engines.continuing.room import Room
from server.engines.continuing.unfinished import Unfinished
from server.engines.counted_reply import poster
from server.engines.dialect import CHAT, MESSAGES, RESPONSES, Dialect
from server.engines.engine import Engine
from server.engines.reply import Reply
from server.engines.two_phase import TwoPhase

_APIS: dict[str, ContinuedApi] = {CHAT: chat, RESPONSES: responses, MESSAGES: messages}

_MIN_ROOM_TOKENS = 32
"""With less room than this beside the budget, an engine's own transition sentence may leave none
for the answer. That of two phases is in the prompt; other APIs than Chat think less instead."""


def answered_reply(engine: Engine, call: Call, dialect: Dialect) -> Reply:
    """The engine's reply to a request that is not sent yet."""
    support, budget, resume = engine.budget_support, call.budget, dialect.resume
    sent_budget = None if budget is None else support.budget_to_send(budget)
    counts = call.counts_thinking
    post = poster(engine, call.path, call.headers, call.choices, counts)
    body = call.write(budget if sent_budget is None else sent_budget)
    can_continue = support.proven and support.continues
    initial_limit = None
    if budget is not None and resume is not None and call.choices == 1:
        fitting = budget + 1 if call.max_tokens is None else call.max_tokens - _MIN_ROOM_TOKENS
        is_tight = budget >= fitting and can_continue
        if call.path != CHAT:
            if sent_budget and is_tight and not dialect.min_message_budget:
                body = call.write(max(0, min(sent_budget, fitting)))
        elif sent_budget is None and not support.counts and budget > 0 and not _is_structured(body):
            initial_limit = budget
        elif (
            sent_budget is None
            or is_tight
            or (can_continue and _counts_prompt(call, body, dialect))
        ):
            logprobs, body = support.adds_logprobs, call.write(None)
            uncounted = partial(engine.post, call.path, headers=call.headers)
            count, reserve, book = engine.count_tokens, call.reserve, call.book
            return TwoPhase(uncounted, body, budget, resume, count, reserve, logprobs, book)
    api = _APIS.get(call.path)
    is_group = call.choices > 1 and bool(body.get("stream"))
    if api is None or resume is None or not support.continues or is_group:
        return post(body)
    binds = sent_budget is not None and support.proven
    if initial_limit is None and call.thinks and call.max_tokens is not None and not binds:
        initial_limit = call.max_tokens - max(1, call.reserve // 2)
    if initial_limit is not None and initial_limit < 1:  # no room for any thinking
        return post(api.body(body, Unfinished(""), resume, call.max_tokens))
    streamed_budget = None if budget is None else budget + len(engine.transition)
    room = Room(call.max_tokens, call.reserve, initial_limit, streamed_budget, call.thinks)
    return ContinuedReply(post, body, api, resume, room, engine.count_tokens, call.book)


def _counts_prompt(call: Call, body: Mapping[str, Any], dialect: Dialect) -> bool:
    """Whether the engine would count a part of the prompt as thinking, where two phases do not.

    At effort none it is to: the budget is for a thought that the prompt opens.
    """
    return call.thinks and dialect.bounds_opened and mentions_open_block(body["messages"])


def _is_structured(body: Mapping[str, Any]) -> bool:
    """Whether an answer that was cut cannot be continued: a call, or text with a grammar."""
    return any(body.get(name) for name in ("tools", "response_format", "structured_outputs"))
