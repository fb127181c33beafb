"""Sums per turn of a tool loop, and feedback on conversations."""

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, text
from test_server_ledger import closed, counter, engine, ledger, postgres
from test_server_savings_report import simulated

from router.conversation import loop_turn
from server.decide.conversations import Conversations, Thread
from server.errors import BadRequest, LedgerUnavailable, UnknownRequest
from server.ledger.feedback import Feedback
from server.ledger.prune import prune_chunk
from server.ledger.summaries import add_new
from server.ledger.tables import (
    conversation_scores,
    loop_turns,
    requests,
)
from server.ledger.writer import Ledger
from server.observe.metrics import Metrics

__all__ = ["engine", "ledger", "postgres"]

DAY = 86_400


def rows_of_sessions(number: int = 400, seed: int = 3) -> list[dict[str, Any]]:
    """Requests of some forty conversations, of two models and two kinds; some fail."""
    rng = np.random.default_rng(seed)
    rows = simulated(number)
    for place, row in enumerate(rows):
        session = int(rng.integers(40))
        row |= {
            "at": 1.8e9 + 4 * DAY * place / number,
            "conversation": f"{session:032x}",
            "key": "k" if session % 3 else "other",
            "model": ("m", "small")[int(rng.random() < 0.2)],
            "kind": "tools" if rng.random() < 0.5 else None,
            "arm": ("treated", "holdout")[session % 5 == 0] if session % 7 else None,
            "status": (200, 200, 200, 503, 429)[int(rng.integers(5))],
            "loop_turn": int(rng.integers(1, 130)) if place % 2 else None,
            "cached_tokens": int(rng.integers(10)),
            "cache_write_tokens": None,
            "unsplit_tokens": 7 if place % 11 == 0 else None,
        }
    return rows


def test_pruning_keeps_feedback_on_conversations_that_go_on(engine: Engine) -> None:
    rows = rows_of_sessions()
    for row in rows[:60]:
        row["conversation"] = "e" * 32
    with engine.begin() as connection:
        connection.execute(insert(requests), rows)
        for name in ("e" * 32, f"{1:032x}"):
            score = {"conversation": name, "key": "k", "score": 1.0, "scored_at": 1.8e9}
            connection.execute(insert(conversation_scores), [score])
    for _ in range(10):
        add_new(engine)
    before = 1.8e9 + 2.5 * DAY
    while prune_chunk(engine, before, rows=70):
        pass
    with engine.connect() as connection:
        scored = connection.execute(select(conversation_scores.c.conversation)).scalars().all()
        turns = connection.execute(text("SELECT sum(requests), max(turn) FROM loop_turns")).one()
    assert scored == [f"{1:032x}"]
    answered = [
        row
        for row in rows
        if row["at"] >= before and row["status"] == 200 and row["loop_turn"] is not None
    ]
    assert tuple(turns) == (len(answered), 100)
    assert loop_turns.c.turn.primary_key


def feedback(writing: Ledger | None, known: Conversations) -> Feedback:
    return Feedback(writing, Metrics(), known)


def note(
    to: Feedback, body: Mapping[str, Any], key: str = "k", **headers: str
) -> Mapping[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(to.note(body, named, key))


def scores(engine: Engine) -> list[tuple[str, str, float]]:
    with engine.connect() as connection:
        columns = conversation_scores.c
        query = select(columns.conversation, columns.key, columns.score)
        return [tuple(row) for row in connection.execute(query.order_by(columns.scored_at))]


def test_a_conversation_is_scored_by_its_name_its_response_or_its_request(
    engine: Engine, ledger: Ledger
) -> None:
    known = Conversations(b"key")
    to = feedback(ledger, known)
    session = known._digest("conversation", "k", "my-session-1").hex()
    for number, conversation in enumerate((session, "d" * 32)):
        record = closed(f"r{number}")
        record.thread = Thread(conversation)
        record.response = known.response_hash("k", f"chatcmpl-{number}")
        ledger.record(record)
    assert note(to, {"solved": True, "conversation": "my-session-1"}) == {
        "named_by": "conversation",
        "solved": 1.0,
    }
    assert scores(engine) == [(session, "k", 1.0)]
    note(to, {"solved": False}, x_claude_code_session_id="my-session-1")
    assert scores(engine) == [(session, "k", 0.0)]
    note(to, {"solved": 0.25, "session_id": "my-session-1"})
    note(to, {"solved": True, "response_id": "chatcmpl-1"})
    assert scores(engine) == [(session, "k", 0.25), ("d" * 32, "k", 1.0)]
    note(to, {"solved": False, "request_id": "r1"})
    assert scores(engine)[-1] == ("d" * 32, "k", 0.0)


@pytest.mark.parametrize(
    "body",
    [
        {"conversation": "my-session-1"},
        {"response_id": "chatcmpl-0"},
        {"request_id": "r0"},
    ],
)
def test_another_keys_conversation_is_unknown(
    engine: Engine, ledger: Ledger, body: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ledger.writer._BATCH_SECONDS", 0.01)
    known = Conversations(b"key")
    record = closed("r0")
    record.thread = Thread(known._digest("conversation", "k", "my-session-1").hex())
    record.response = known.response_hash("k", "chatcmpl-0")
    ledger.record(record)
    to = feedback(ledger, known)
    with pytest.raises(UnknownRequest, match="no conversation of this API key"):
        note(to, {**body, "solved": True}, key="other")
    assert scores(engine) == []
    note(to, {**body, "solved": True})
    assert len(scores(engine)) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"solved": True}, "conversation"),
        ({"solved": 2, "conversation": "my-session-1"}, "solved"),
        ({"solved": "yes", "conversation": "my-session-1"}, "solved"),
        ({"solved": None, "conversation": "my-session-1"}, "solved"),
        ({"solved": True, "conversation": "undefined"}, "conversation"),
        ({"solved": True, "conversation": 3}, "conversation"),
        ({"solved": True, "conversation": "a-session", "response_id": "r"}, "response_id"),
        ({"solved": True, "response_id": ""}, "response_id"),
        ({"solved": True, "request_id": "r\0"}, "request_id"),
        ({"correct": True, "request_id": "r\0"}, "request_id"),
        ({"solved": True, "correct": True, "request_id": "r"}, "correct"),
        ({"conversation": "my-session-1", "correct": True}, "solved"),
        ({"solved": True, "conversation": "my-session-1", "text": "x"}, "text"),
    ],
)
def test_invalid_feedback_on_a_conversation_names_its_field(
    body: Mapping[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        note(feedback(None, Conversations(b"key")), body)
    assert refused.value.param == param


def test_without_a_ledger_a_conversation_is_not_scored() -> None:
    body = {"solved": True, "conversation": "my-session-1"}
    with pytest.raises(LedgerUnavailable):
        note(feedback(None, Conversations(b"key")), body)
    assert counter("unused")


def test_turns_of_a_loop_are_counted_from_the_users_last_words() -> None:
    user, answer = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
    result = {"role": "tool", "content": "z"}
    assert loop_turn([user]) == 1
    assert loop_turn([user, answer, user]) == 1
    assert loop_turn([user, answer, user, answer, result]) == 2
    assert loop_turn([user, answer, result, result, answer, answer, result]) == 3
    block = {"role": "user", "content": [{"type": "tool_result", "content": "z"}]}
    assert loop_turn([user, answer, block, answer, block]) == 3
