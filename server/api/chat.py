"""`POST /v1/chat/completions`: OpenAI's Chat Completions, with the fields of every dialect.

An effort or a budget in any of these fields (`thinking_fields`) is read, removed, and written
as the engine's dialect has it. All other fields are passed on unchanged. The functions are
documented in `protocol.Api`.
"""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from router.messages import read_messages
from server.api.completion_relay import ChatRelay
from server.api.context_overflow import openai_refusal
from server.api.fields import agreed, boolean, integer, object_, string
from server.api.relay import Tops
from server.api.request import ParsedRequest, check_coherent
from server.api.session import named_session
from server.api.streamed_answer import CHAT_FORM, StreamForm
from server.api.template_variables import set_template_variables
from server.api.thinking import requested_thinking, without_thinking
from server.engines.chat_chunk import choices
from server.engines.dialect import CHAT, Dialect
from server.engines.reported_error import chat_error
from server.errors import BadRequest, GatewayError
from server.http.json_codec import shown
from server.http.sse import encode

PATH: str = CHAT
STREAM_FORM: StreamForm = CHAT_FORM


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    thinking = requested_thinking(body, headers)
    stream = boolean(body, "stream")
    options = object_(body, "stream_options")
    if options and not stream:
        raise BadRequest("stream_options is allowed only with stream: true", "stream_options")
    limits = {
        name: limit
        for name in ("max_completion_tokens", "max_tokens")
        if (limit := integer(body, name, minimum=1)) is not None
    }
    messages = _messages(body)
    request = ParsedRequest(
        body=body,
        messages=messages,
        conversation=read_messages(messages),
        model=string(body, "model"),
        thinking=thinking,
        max_tokens=agreed(limits),
        n=integer(body, "n", minimum=1) or 1,
        stream=stream,
        include_usage=boolean(options, "include_usage", "stream_options.include_usage"),
        session=named_session(headers, body),
    )
    return check_coherent(request)


def write(
    request: ParsedRequest, effort: Effort, budget: int | None, model: str, dialect: Dialect
) -> dict[str, Any]:
    body = without_thinking(request.body)
    body["model"] = model
    dialect.apply(body, effort, budget)
    if dialect.has_templates:
        word = dialect.words.get(effort, effort)
        set_template_variables(body, request.body.get("chat_template_kwargs"), word)
    if request.stream:
        options: dict[str, Any] = request.body.get("stream_options") or {}
        body["stream_options"] = {**options, "include_usage": True}
    return body


def is_answer(answer: Mapping[str, Any]) -> bool:
    readable = choices(answer)
    return bool(readable) and len(readable) == len(answer["choices"])


def failure(answer: Mapping[str, Any]) -> GatewayError | None:
    return chat_error(answer)


def answers(answer: Mapping[str, Any]) -> list[list[Any]]:
    choices: object = answer.get("choices")
    if not isinstance(choices, list):
        return []
    return [
        [cast("dict[str, Any]", choice).get("message")]
        for choice in cast("list[Any]", choices)
        if isinstance(choice, dict)
    ]


def refusal(
    answer: dict[str, Any],
    status: int,  # noqa: ARG001
    max_tokens: int | None,  # noqa: ARG001
    context: int | None,
) -> dict[str, Any]:
    return openai_refusal(answer, context, "messages")


def relay(request: ParsedRequest, tops: Tops, effort: Effort) -> ChatRelay:  # noqa: ARG001
    return ChatRelay(request.n, request.include_usage, tops, error_event)


def with_tops(answer: dict[str, Any], tops: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "tops": tops}


def error_event(error: GatewayError) -> bytes:
    return encode(error.envelope())


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", "messages")
    for index, message in enumerate(cast("list[Any]", messages)):
        param = f"messages[{index}]"
        if not isinstance(message, dict):
            raise BadRequest(f"{param} must be an object with role and content", param)
        role = cast("dict[str, Any]", message).get("role")
        if not isinstance(role, str):
            raise BadRequest(f"{param}.role must be a string, not {shown(role)}", f"{param}.role")
        content = cast("dict[str, Any]", message).get("content")
        if content is not None and not isinstance(content, (str, list)):
            raise BadRequest(
                f"{param}.content must be a string or a list of parts", f"{param}.content"
            )
    return cast("list[dict[str, Any]]", messages)
