"""Reads an engine's whole answer, and tells its errors apart."""

from typing import Any

from server.api.context_overflow import context_overflow
from server.api.protocol import Api
from server.api.request import ParsedRequest
from server.engines.dialect import CHAT
from server.engines.reply import Reply, is_unknown_path, parse_json
from server.errors import EngineFailed, EngineRefused, NoSuchEndpoint
from server.http.json_codec import as_object, dumps

_LATER = (429, 503, 504, 529)
"""Statuses that ask a client to try again later; proxies send them with pages of their own."""

_MAX_REASON = 1000
_MARKUP = ("<", "{", "[")
"""How a page begins, or JSON that is incomplete."""


async def read_answer(
    api: Api, reply: Reply, request: ParsedRequest, context: int | None
) -> dict[str, Any]:
    """The engine's answer, or the error object that it sent, in the API's envelope.

    Raises:
        NoSuchEndpoint: the engine does not have the API's path.
        EngineRefused: it refused the request, or is overloaded, in an envelope of its own or none.
        EngineFailed: its body is neither an answer nor an error, or an error under status 200.
    """
    status, raw = reply.status, await reply.read()
    answer = as_object(parse_json(raw))
    if status == 404 and api.PATH != CHAT and is_unknown_path(answer):
        raise NoSuchEndpoint(f"the engine has no /v1{api.PATH}; use /v1{CHAT}")
    if status == 200 and (failure := api.failure(answer)):
        raise failure
    if status == 200 and api.is_answer(answer):
        return answer
    if status >= 400 and "error" in answer:
        return api.refusal(answer, status, request.max_tokens, context)
    if bare := bare_refusal(reply, raw):
        if context_overflow({**answer, "message": bare.message}, context):
            return api.refusal(bare.envelope(), status, request.max_tokens, context)
        raise bare
    raise EngineFailed(f"the engine answered HTTP {status} with an unreadable body")


def bare_refusal(reply: Reply, raw: bytes) -> EngineRefused | None:
    """The refusal in a body without an error object, which may give its reason as a text.

    None where there is no refusal, or where the engine failed and does not say why.
    """
    status, value = reply.status, parse_json(raw)
    fields = as_object(value)
    reason = fields.get("message", fields.get("detail"))  # SGLang's, FastAPI's
    if status >= 400 and reason:
        message = reason if isinstance(reason, str) else dumps(reason).decode()
        return EngineRefused(message, status, reply.retry_after)
    if not (400 <= status < 500 or status in _LATER):
        return None
    text = (value if isinstance(value, str) else raw.decode(errors="replace")).strip()
    if status >= 500 or not text or text.startswith(_MARKUP):
        return EngineRefused(
            f"the engine answered HTTP {status} without a reason", status, reply.retry_after
        )
    return EngineRefused(text[:_MAX_REASON], status, reply.retry_after)


def refused(answer: dict[str, Any], reply: Reply) -> EngineRefused:
    """The refusal in an engine's answer, for a stream whose head has been sent."""
    message = as_object(answer.get("error")).get("message")
    message = str(message or f"the engine answered HTTP {reply.status}")
    return EngineRefused(message, reply.status, reply.retry_after)
