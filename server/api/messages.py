"""`POST /v1/messages`: the Anthropic Messages API, for engines that speak it."""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from server.api.fields import boolean, integer, object_, string
from server.api.protocol import Tops
from server.api.relay import MessagesRelay
from server.api.request import ParsedRequest, asked_budget, asked_effort, check_coherent
from server.engines.dialect import MESSAGES, Dialect
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = MESSAGES
LEAST_BUDGET = 1024
"""Thinking tokens; the API refuses smaller budgets."""


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    """See `server.api.protocol.Api.parse`."""
    thinking = object_(body, "thinking")
    kind = thinking.get("type")
    if thinking and kind not in ("enabled", "disabled", "adaptive"):
        raise BadRequest("thinking.type must be enabled, disabled or adaptive", "thinking.type")
    field = "thinking.budget_tokens"
    said = {field: integer(thinking, "budget_tokens", least=LEAST_BUDGET, param=field)}
    if kind == "enabled" and said[field] is None:
        raise BadRequest(f"thinking of type enabled needs {field}", field)
    if kind != "enabled" and said[field] is not None:
        raise BadRequest(f"{field} goes only with thinking of type enabled", field)
    efforts = {"output_config.effort": object_(body, "output_config").get("effort")}
    budget, budget_field = asked_budget(said, headers)
    asked = ParsedRequest(
        body=body,
        messages=_messages(body),
        model=string(body, "model"),
        effort=asked_effort(
            efforts, {"thinking.type": False} if kind == "disabled" else {}, headers
        ),
        budget=budget,
        max_tokens=integer(body, "max_tokens", least=1),
        stream=boolean(body, "stream"),
        budget_field=budget_field,
    )
    return check_coherent(asked)


def write(
    asked: ParsedRequest,
    effort: Effort,
    budget: int | None,
    model: str,
    dialect: Dialect,  # noqa: ARG001 - all engines spell it as the API does
) -> dict[str, Any]:
    """See `server.api.protocol.Api.write`."""
    body = {name: value for name, value in asked.body.items() if name != "thinking"}
    config: dict[str, Any] = {**object_(body, "output_config")}
    config.pop("effort", None)
    body |= {"model": model, "output_config": config}
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    else:
        config["effort"] = "low" if effort == "minimal" else effort
        if budget is not None:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        elif asked.body.get("thinking"):
            body["thinking"] = {"type": "adaptive"}
    if not config:
        del body["output_config"]
    return body


def is_answer(answer: Mapping[str, Any]) -> bool:
    """See `server.api.protocol.Api.is_answer`."""
    return answer.get("type") == "message"


def relay(asked: ParsedRequest, tops: Tops) -> MessagesRelay:  # noqa: ARG001
    """See `server.api.protocol.Api.relay`."""
    return MessagesRelay(tops)


def error_event(error: GatewayError) -> bytes:
    """See `server.api.protocol.Api.error_event`."""
    return encode(envelope(error), "error")


def envelope(error: GatewayError) -> dict[str, Any]:
    """Anthropic's error object, with the fields of OpenAI's besides."""
    return {"type": "error", **error.envelope()}


def _messages(body: dict[str, Any]) -> list[Any]:
    messages: object = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", "messages")
    turns = cast("list[Any]", messages)
    system = body.get("system")
    return [{"role": "system", "content": system}, *turns] if system else turns
