"""Which conversation feedback is of, and its place in the ledger."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeGuard

from sqlalchemy import ColumnElement, Connection, select, text

from server.api.session import Session, named_session
from server.errors import BadRequest
from server.ledger.tables import requests

Search = Callable[[Connection], str | None]
"""Finds the id of a conversation; None if the ledger has none."""

_MAX_ID = 256
_STORE = text(
    "INSERT INTO conversation_scores (conversation, key, score, scored_at) "
    "VALUES (:conversation, :key, :score, :scored_at) "
    "ON CONFLICT (conversation) DO UPDATE SET score = excluded.score, "
    "scored_at = excluded.scored_at"
)


class ConversationReference(NamedTuple):
    """What names a conversation: one of the three, and the field that has it."""

    field: str
    session: Session | None = None
    response_id: str | None = None
    request_id: str | None = None


def read_reference(body: Mapping[str, Any], headers: Mapping[str, str]) -> ConversationReference:
    """What names the conversation of feedback; what the body says for itself counts first.

    Raises:
        BadRequest: nothing does, several fields do, or what does is malformed.
    """
    own = [
        field
        for field in ("conversation", "response_id", "request_id")
        if body.get(field) is not None
    ]
    if len(own) > 1:
        raise BadRequest(f"{' and '.join(own)} both name a conversation: set one", own[1])
    if not own:
        session = named_session(headers, body)
        if session is None:
            raise BadRequest(
                "name the conversation: by its name in conversation (or in the header or field "
                "that your client uses), by the id of one of its responses in response_id, or by "
                "an x-request-id of it in request_id",
                "conversation",
            )
        return ConversationReference(session.field, session)
    (field,) = own
    value: object = body[field]
    if field == "conversation":
        session = named_session({}, {"conversation": value})
        if session is None:
            raise BadRequest(
                "conversation must be the name that the client gave to its conversation", field
            )
        return ConversationReference(field, session)
    if not is_id(value):
        origin = (
            "id of a response" if field == "response_id" else "header x-request-id of a response"
        )
        raise BadRequest(f"{field} must be the {origin}", field)
    return ConversationReference(field, None, **{field: value})


def is_id(value: object) -> TypeGuard[str]:
    """Whether a value may be the id of a request or response; PostgreSQL stores no NUL."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID and value.isprintable()


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
