"""Scores of conversations in the ledger: which conversation is meant, and how it is stored."""

import time
from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, select, text

from server.ledger.tables import requests

Search = Callable[[Connection], str | None]
"""Finds the id of a conversation; None if the ledger has none."""

_STORE = text(
    "INSERT INTO conversation_scores (conversation, key, score, scored_at) "
    "VALUES (:conversation, :key, :score, :scored_at) "
    "ON CONFLICT (conversation) DO UPDATE SET score = excluded.score, "
    "scored_at = excluded.scored_at"
)


def by_conversation(conversation: str, key: str) -> Search:
    """The search for a conversation of a key by its id."""

    def search(connection: Connection) -> str | None:
        columns = requests.c
        own = columns.conversation == conversation, columns.key == key
        row = connection.execute(select(columns.id).where(*own).limit(1)).first()
        return None if row is None else conversation

    return search


def by_request(request_id: str, key: str) -> Search:
    """The search for the conversation of a key's request by the request's id."""
    return _of_request(requests.c.request_id == request_id, key)


def by_response(response: int, key: str) -> Search:
    """The search for the conversation of a key's request by the hash of its response's id."""
    return _of_request(requests.c.response == response, key)


def _of_request(condition: ColumnElement[bool], key: str) -> Search:
    columns = requests.c
    query = select(columns.conversation).where(condition, columns.key == key)

    def search(connection: Connection) -> str | None:
        return connection.execute(query.order_by(columns.id.desc()).limit(1)).scalar()

    return search


def store_score(connection: Connection, conversation: str, key: str, score: float) -> None:
    """Store a score from 0 to 1 in the place of an earlier one."""
    values = {"conversation": conversation, "key": key, "score": score, "scored_at": time.time()}
    connection.execute(_STORE, values)
