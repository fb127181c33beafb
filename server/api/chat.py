"""`POST /v1/chat/completions`: OpenAI's Chat Completions, with the fields of every dialect.

An effort or a budget in any of these fields is read, removed, and written as the engine's dialect
has it. All other fields are passed on unchanged. The functions are documented in `protocol.Api`.
"""

from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from router.messages import read_messages
from server.api.fields import agreed, boolean, integer, object_, shown, string
from server.api.protocol import Tops
from server.api.relay import ChatRelay
from server.api.request import (
    BUDGET_HEADER,
    EFFORT_HEADER,
    ParsedRequest,
    check_coherent,
    requested_budget,
    requested_effort,
)
from server.engines.dialect import CHAT, Dialect
from server.errors import BadRequest, GatewayError
from server.http.sse import encode

PATH: str = CHAT

_ABSORBED = {
    "chat_template_kwargs": ("reasoning_effort", "enable_thinking"),
    "reasoning": ("effort", "max_tokens", "enabled"),
    "thinking": ("type", "budget_tokens"),
    "custom_params": ("thinking_budget",),
}
"""The keys that are read of fields that are objects; their other keys are passed on."""

_REPLACED = ("reasoning_effort", "thinking_token_budget", "thinking_budget_tokens")
_READ = frozenset((*_ABSORBED, *_REPLACED))


def parse(body: dict[str, Any], headers: Mapping[str, str]) -> ParsedRequest:
    effort, budget, budget_field = None, None, "thinking_token_budget"
    if not _READ.isdisjoint(body) or EFFORT_HEADER in headers or BUDGET_HEADER in headers:
        budget, budget_field = _budget(body, headers)
        effort = _effort(body, headers)
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
        effort=effort,
        budget=budget,
        max_tokens=agreed(limits),
        n=integer(body, "n", minimum=1) or 1,
        stream=stream,
        include_usage=boolean(options, "include_usage", "stream_options.include_usage"),
        budget_field=budget_field,
    )
    return check_coherent(request)


def write(
    request: ParsedRequest, effort: Effort, budget: int | None, model: str, dialect: Dialect
) -> dict[str, Any]:
    body = {name: value for name, value in request.body.items() if name not in _REPLACED}
    for name, absorbed in _ABSORBED.items():
        if isinstance(body.get(name), dict):
            remaining = {key: value for key, value in body[name].items() if key not in absorbed}
            if remaining or not body[name]:
                body[name] = remaining
            else:
                del body[name]
    body["model"] = model
    dialect.apply(body, effort, budget)
    if request.stream:
        options: dict[str, Any] = request.body.get("stream_options") or {}
        body["stream_options"] = {**options, "include_usage": True}
    return body


def is_answer(answer: Mapping[str, Any]) -> bool:
    return "choices" in answer


def relay(request: ParsedRequest, tops: Tops) -> ChatRelay:
    return ChatRelay(request.include_usage, tops)


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
        if content is not None and not isinstance(content, str | list):
            raise BadRequest(
                f"{param}.content must be a string or a list of parts", f"{param}.content"
            )
    return cast("list[dict[str, Any]]", messages)


def _effort(body: dict[str, Any], headers: Mapping[str, str]) -> Effort | None:
    kwargs, reasoning = object_(body, "chat_template_kwargs"), object_(body, "reasoning")
    switches = {
        "chat_template_kwargs.enable_thinking": kwargs.get("enable_thinking"),
        "reasoning.enabled": reasoning.get("enabled"),
        "thinking.type": {"disabled": False, "enabled": True}.get(
            str(object_(body, "thinking").get("type"))
        ),
    }
    efforts = {
        "reasoning_effort": body.get("reasoning_effort"),
        "chat_template_kwargs.reasoning_effort": kwargs.get("reasoning_effort"),
        "reasoning.effort": reasoning.get("effort"),
    }
    booleans = {name: value for name, value in switches.items() if isinstance(value, bool)}
    return requested_effort(efforts, booleans, headers)


def _budget(body: dict[str, Any], headers: Mapping[str, str]) -> tuple[int | None, str]:
    budgets = {
        name: integer(body, name, minimum=0)
        for name in ("thinking_token_budget", "thinking_budget_tokens")
    }
    for owner, name in (
        ("reasoning", "max_tokens"),
        ("thinking", "budget_tokens"),
        ("custom_params", "thinking_budget"),
    ):
        field = f"{owner}.{name}"
        budgets[field] = integer(object_(body, owner), name, minimum=0, param=field)
    return requested_budget(budgets, headers)
