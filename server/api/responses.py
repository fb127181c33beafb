"""`POST /v1/responses`: OpenAI's Responses API, for engines that speak it. See `protocol.Api`."""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from router.messages import read_messages
from server.api.fields import boolean, integer, object_, string
from server.api.protocol import Tops
from server.api.relay import ResponsesRelay
from server.api.request import ParsedRequest, check_coherent, requested_budget, requested_effort
from server.engines.dialect import RESPONSES, Dialect
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = RESPONSES


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    efforts = {
        "reasoning.effort": object_(body, "reasoning").get("effort"),
        "reasoning_effort": body.get("reasoning_effort"),
    }
    budgets = {"thinking_token_budget": integer(body, "thinking_token_budget", minimum=0)}
    budget, budget_field = requested_budget(budgets, headers)
    messages = _messages(body)
    request = ParsedRequest(
        body=body,
        messages=messages,
        conversation=read_messages(messages),
        model=string(body, "model"),
        effort=requested_effort(efforts, {}, headers),
        budget=budget,
        max_tokens=integer(body, "max_output_tokens", minimum=1),
        stream=boolean(body, "stream"),
        budget_field=budget_field,
    )
    return check_coherent(request)


def write(
    request: ParsedRequest,
    effort: Effort,
    budget: int | None,  # noqa: ARG001 - the API has no field for one
    model: str,
    dialect: Dialect,  # noqa: ARG001 - all engines use the API's own fields
) -> dict[str, Any]:
    replaced = ("reasoning_effort", "thinking_token_budget")
    body = {name: value for name, value in request.body.items() if name not in replaced}
    reasoning = {**object_(body, "reasoning"), "effort": effort}
    return {**body, "model": model, "reasoning": reasoning}


def is_answer(answer: Mapping[str, Any]) -> bool:
    return "output" in answer


def relay(request: ParsedRequest, tops: Tops) -> ResponsesRelay:  # noqa: ARG001
    return ResponsesRelay(tops)


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
        return {"role": "assistant", "content": None}
    return cast("Any", item)
