"""What names the conversation that feedback is of."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from server.api.session import Session, named_session
from server.errors import BadRequest

_MAX_ID = 256


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
