"""`POST /v1/responses`: OpenAI's Responses API, for engines that speak it. See `protocol.Api`."""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from router.finish_reason import finish_meaning
from router.messages import read_messages
from server.api.context_overflow import openai_refusal
from server.api.fields import boolean, integer, string
from server.api.relay import Tops
from server.api.request import ParsedRequest, check_coherent
from server.api.response_relays import ResponsesRelay, with_effort
from server.api.session import named_session
from server.api.streamed_answer import RESPONSES_FORM, StreamForm
from server.api.template_variables import set_template_variables
from server.api.thinking import requested_thinking, without_thinking
from server.engines.dialect import RESPONSES, Dialect
from server.engines.reported_error import reported_error
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = RESPONSES
STREAM_FORM: StreamForm = RESPONSES_FORM


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    messages = _messages(body)
    request = ParsedRequest(
        body=body,
        messages=messages,
        conversation=read_messages(messages),
        model=string(body, "model"),
        thinking=requested_thinking(body, headers),
        max_tokens=integer(body, "max_output_tokens", minimum=1),
        stream=boolean(body, "stream"),
        session=named_session(headers, body),
        previous_response=string(body, "previous_response_id"),
    )
    return check_coherent(request)


def write(
    request: ParsedRequest, effort: Effort, budget: int | None, model: str, dialect: Dialect
) -> dict[str, Any]:
    body = {**without_thinking(request.body), "model": model}
    dialect.apply_to_response(body, effort, budget)
    if dialect.has_templates:
        word = dialect.words.get(effort, effort)
        set_template_variables(body, request.body.get("chat_template_kwargs"), word)
    return body


def is_answer(answer: Mapping[str, Any]) -> bool:
    return "output" in answer


def answers(answer: Mapping[str, Any]) -> list[list[Any]]:
    output: object = answer.get("output")
    if not isinstance(output, list):
        return []
    return [[_message(item) for item in cast("list[Any]", output)]]


def failure(answer: Mapping[str, Any]) -> GatewayError | None:
    if answer.get("error") or finish_meaning(answer.get("status")) == "error":
        return reported_error(answer.get("error"))
    return None


def refusal(
    answer: dict[str, Any],
    status: int,  # noqa: ARG001
    max_tokens: int | None,  # noqa: ARG001
    context: int | None,
) -> dict[str, Any]:
    return openai_refusal(answer, context, "input")


def relay(request: ParsedRequest, tops: Tops, effort: Effort) -> ResponsesRelay:  # noqa: ARG001
    return ResponsesRelay(tops, error_event, effort)


def with_tops(answer: dict[str, Any], tops: dict[str, Any]) -> dict[str, Any]:
    return {**with_effort(answer, tops["effort"]), "tops": tops}


def error_event(error: GatewayError) -> bytes:
    body = error.envelope()["error"]
    return encode({**body, "type": "error", "sequence_number": None}, "error")


def _messages(body: dict[str, Any]) -> list[Any]:
    """The conversation: instructions, then the input's messages and tool results."""
    prompt = body.get("input")
    if isinstance(prompt, str):
        items: list[Any] = [{"role": "user", "content": prompt}]
    elif isinstance(prompt, list) and prompt:
        items = [_message(item) for item in cast("list[Any]", prompt)]
    else:
        raise BadRequest("input must be a text or a list of at least one item", "input")
    instructions = string(body, "instructions")
    return [{"role": "system", "content": instructions}, *items] if instructions else items


def _message(item: Any) -> Any:
    """An item as a message; tool calls, their results and reasoning are items of their own."""
    if isinstance(item, dict) and "role" not in item:
        fields = cast("dict[str, Any]", item)
        if str(fields.get("type")).endswith("_output"):
            return {"role": "tool", "content": [fields]}
        call = fields.get("call_id")
        return {"role": "assistant", "content": None, "tool_calls": [{"id": call}]}
    return cast("Any", item)
