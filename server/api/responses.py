"""`POST /v1/responses`: OpenAI's Responses API, for engines that speak it."""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from server.api.fields import boolean, integer, object_, string
from server.api.protocol import Tops
from server.api.relay import ResponsesRelay
from server.api.request import ParsedRequest, asked_budget, asked_effort, check_coherent
from server.engines.dialect import RESPONSES, Dialect
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = RESPONSES


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    """See `server.api.protocol.Api.parse`."""
    efforts = {
        "reasoning.effort": object_(body, "reasoning").get("effort"),
        "reasoning_effort": body.get("reasoning_effort"),
    }
    said = {"thinking_token_budget": integer(body, "thinking_token_budget", least=0)}
    budget, budget_field = asked_budget(said, headers)
    asked = ParsedRequest(
        body=body,
        messages=_messages(body),
        model=string(body, "model"),
        effort=asked_effort(efforts, {}, headers),
        budget=budget,
        max_tokens=integer(body, "max_output_tokens", least=1),
        stream=boolean(body, "stream"),
        budget_field=budget_field,
    )
    return check_coherent(asked)


def write(
    asked: ParsedRequest,
    effort: Effort,
    budget: int | None,  # noqa: ARG001 - the API has no field for one
    model: str,
    dialect: Dialect,  # noqa: ARG001 - all engines spell it as the API does
) -> dict[str, Any]:
    """See `server.api.protocol.Api.write`."""
    replaced = ("reasoning_effort", "thinking_token_budget")
    body = {name: value for name, value in asked.body.items() if name not in replaced}
    reasoning = {**object_(body, "reasoning"), "effort": effort}
    return {**body, "model": model, "reasoning": reasoning}


def is_answer(answer: Mapping[str, Any]) -> bool:
    """See `server.api.protocol.Api.is_answer`."""
    return "output" in answer


def relay(asked: ParsedRequest, tops: Tops) -> ResponsesRelay:  # noqa: ARG001
    """See `server.api.protocol.Api.relay`."""
    return ResponsesRelay(tops)


def error_event(error: GatewayError) -> bytes:
    """See `server.api.protocol.Api.error_event`."""
    body = error.envelope()["error"]
    return encode({**body, "type": "error", "sequence_number": None}, "error")


def _messages(body: dict[str, Any]) -> list[Any]:
    """The conversation: instructions, then the input's messages and tool results."""
    asked = body.get("input")
    if isinstance(asked, str):
        items: list[Any] = [{"role": "user", "content": asked}]
    elif isinstance(asked, list) and asked:
        items = [_turn(item) for item in cast("list[Any]", asked)]
    else:
        raise BadRequest("input must be a text or a list of at least one item", "input")
    instructions = string(body, "instructions")
    return [{"role": "system", "content": instructions}, *items] if instructions else items


def _turn(item: Any) -> Any:
    """An item as a message; calls of tools, their results and reasoning are items here."""
    if isinstance(item, dict) and "role" not in item:
        found = cast("dict[str, Any]", item)
        if str(found.get("type")).endswith("_output"):
            return {"role": "tool", "content": [found]}
        return {"role": "assistant", "content": None}
    return cast("Any", item)
