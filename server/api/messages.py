"""`POST /v1/messages`: Anthropic's Messages API, for engines that speak it. See `protocol.Api`."""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from router.messages import read_messages
from server.api.context_overflow import context_overflow, error_fields
from server.api.fields import boolean, integer, object_, string
from server.api.relay import Tops
from server.api.request import ParsedRequest, check_coherent
from server.api.response_relays import MessagesRelay
from server.api.session import named_session
from server.api.streamed_answer import MESSAGES_FORM, StreamForm
from server.api.template_variables import set_template_variables
from server.api.thinking import requested_thinking, without_thinking
from server.engines.dialect import MESSAGES, MIN_MESSAGE_BUDGET, Dialect
from server.engines.reported_error import reported_error
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = MESSAGES
STREAM_FORM: StreamForm = MESSAGES_FORM
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_WORDS = ("enabled", "disabled", "adaptive", "auto")


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    _check_thinking(body)
    messages = _messages(body)
    request = ParsedRequest(
        body=body,
        messages=messages,
        conversation=read_messages(messages),
        model=string(body, "model"),
        thinking=requested_thinking(body, headers),
        max_tokens=integer(body, "max_tokens", minimum=1),
        stream=boolean(body, "stream"),
        session=named_session(headers, body),
    )
    return check_coherent(request)


def write(
    request: ParsedRequest, effort: Effort, budget: int | None, model: str, dialect: Dialect
) -> dict[str, Any]:
    body = {**without_thinking(request.body), "model": model}
    thinking = object_(request.body, "thinking")
    if not thinking:
        body.pop("thinking", None)
    else:
        is_new = thinking["type"] not in _WORDS and dialect.hosted  # its vendor may have added it
        word = thinking["type"] if is_new else "adaptive"
        body["thinking"] = {**object_(body, "thinking"), "type": word}
    dialect.apply_to_message(body, effort, budget)
    if dialect.has_templates:
        word = dialect.words.get(effort, effort)
        set_template_variables(body, request.body.get("chat_template_kwargs"), word)
    return body


def is_answer(answer: Mapping[str, Any]) -> bool:
    return answer.get("type") == "message"


def answers(answer: Mapping[str, Any]) -> list[list[Any]]:
    return [[answer]]


def failure(answer: Mapping[str, Any]) -> GatewayError | None:
    if answer.get("error") or answer.get("type") == "error":
        return reported_error(answer.get("error") or answer)
    return None


def refusal(
    answer: dict[str, Any], status: int, max_tokens: int | None, context: int | None
) -> dict[str, Any]:
    fields = error_fields(answer)
    overflow = context_overflow(fields, context)
    message = overflow.anthropic(max_tokens) if overflow else fields.get("message")
    return {
        **answer,
        "type": "error",
        "error": {**fields, "type": error_type(status), "message": message},
    }


def relay(request: ParsedRequest, tops: Tops, effort: Effort) -> MessagesRelay:  # noqa: ARG001
    return MessagesRelay(tops, error_event)


def with_tops(answer: dict[str, Any], tops: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "tops": tops}


def error_event(error: GatewayError) -> bytes:
    return encode(envelope(error), "error")


def envelope(error: GatewayError) -> dict[str, Any]:
    """Anthropic's error object, with the fields of OpenAI's beside it."""
    fields = error.envelope()["error"]
    return {"type": "error", "error": {**fields, "type": error_type(error.status)}}


def error_type(status: int) -> str:
    """Anthropic's type of an error with this HTTP status."""
    return _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _messages(body: dict[str, Any]) -> list[Any]:
    messages: object = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", "messages")
    turns = cast("list[Any]", messages)
    system = body.get("system")
    return [{"role": "system", "content": system}, *turns] if system else turns


def _check_thinking(body: dict[str, Any]) -> None:
    """Refuse what Anthropic's API refuses in `thinking`; words that it adds later are accepted."""
    thinking = object_(body, "thinking")
    if not thinking:
        return
    word, field = thinking.get("type"), "thinking.budget_tokens"
    if not isinstance(word, str):
        raise BadRequest("thinking.type must be enabled, disabled or adaptive", "thinking.type")
    budget = integer(thinking, "budget_tokens", minimum=MIN_MESSAGE_BUDGET, param=field)
    if word == "enabled" and budget is None:
        raise BadRequest(f"thinking of type enabled needs {field}", field)
    if word in ("disabled", "adaptive") and budget is not None:
        raise BadRequest(f"{field} is allowed only with thinking of type enabled", field)
