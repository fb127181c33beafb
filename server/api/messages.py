"""`POST /v1/messages`: Anthropic's Messages API, for engines that speak it. See `protocol.Api`."""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from router.messages import read_messages
from server.api.fields import boolean, integer, object_, string
from server.api.protocol import Tops
from server.api.relay import MessagesRelay
from server.api.request import ParsedRequest, check_coherent, requested_budget, requested_effort
from server.engines.dialect import MESSAGES, Dialect
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = MESSAGES
MIN_BUDGET = 1024
"""Thinking tokens; the API refuses smaller budgets."""


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    thinking = object_(body, "thinking")
    kind = thinking.get("type")
    if thinking and kind not in ("enabled", "disabled", "adaptive"):
        raise BadRequest("thinking.type must be enabled, disabled or adaptive", "thinking.type")
    field = "thinking.budget_tokens"
    budgets = {field: integer(thinking, "budget_tokens", minimum=MIN_BUDGET, param=field)}
    if kind == "enabled" and budgets[field] is None:
        raise BadRequest(f"thinking of type enabled needs {field}", field)
    if kind != "enabled" and budgets[field] is not None:
        raise BadRequest(f"{field} is allowed only with thinking of type enabled", field)
    efforts = {"output_config.effort": object_(body, "output_config").get("effort")}
    budget, budget_field = requested_budget(budgets, headers)
    messages = _messages(body)
    request = ParsedRequest(
        body=body,
        messages=messages,
        conversation=read_messages(messages),
        model=string(body, "model"),
        effort=requested_effort(
            efforts, {"thinking.type": False} if kind == "disabled" else {}, headers
        ),
        budget=budget,
        max_tokens=integer(body, "max_tokens", minimum=1),
        stream=boolean(body, "stream"),
        budget_field=budget_field,
    )
    return check_coherent(request)


def write(
    request: ParsedRequest,
    effort: Effort,
    budget: int | None,
    model: str,
    dialect: Dialect,  # noqa: ARG001 - all engines use the API's own fields
) -> dict[str, Any]:
    body = {name: value for name, value in request.body.items() if name != "thinking"}
    config: dict[str, Any] = {**object_(body, "output_config")}
    config.pop("effort", None)
    body |= {"model": model, "output_config": config}
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    else:
        config["effort"] = "low" if effort == "minimal" else effort
        if budget is not None:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        elif request.body.get("thinking"):
            body["thinking"] = {"type": "adaptive"}
    if not config:
        del body["output_config"]
    return body


def is_answer(answer: Mapping[str, Any]) -> bool:
    return answer.get("type") == "message"


def relay(request: ParsedRequest, tops: Tops) -> MessagesRelay:  # noqa: ARG001
    return MessagesRelay(tops)


def error_event(error: GatewayError) -> bytes:
    return encode(envelope(error), "error")


def envelope(error: GatewayError) -> dict[str, Any]:
    """Anthropic's error object, with the fields of OpenAI's beside it."""
    return {"type": "error", **error.envelope()}


def _messages(body: dict[str, Any]) -> list[Any]:
    messages: object = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", "messages")
    turns = cast("list[Any]", messages)
    system = body.get("system")
    return [{"role": "system", "content": system}, *turns] if system else turns
