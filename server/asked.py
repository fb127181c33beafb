"""What a chat request asks for, as far as the decision needs to know; the rest stays unread.

Two ways of saying the same thing may both be used as long as they agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args

from router.effort import EFFORTS, Effort
from server.errors import BadRequest

EFFORT_HEADER = "x-tops-effort"
BUDGET_HEADER = "x-tops-budget"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Asked:
    """A parsed request; `effort` and `budget` (thinking tokens) are None where left to us.

    `n` is the number of choices; a budget and `max_tokens` hold for each of them.
    """

    body: dict[str, Any]
    messages: list[dict[str, Any]]
    model: str | None
    effort: Effort | None
    budget: int | None
    max_tokens: int | None
    n: int
    stream: bool
    include_usage: bool


def parse_asked(body: dict[str, Any], headers: Mapping[str, str]) -> Asked:
    """Read a chat-completions body.

    Raises:
        BadRequest: a field that we read has the wrong type or value, or two of them disagree.
    """
    max_tokens = _agreed(
        {
            name: _integer(body, name, least=1)
            for name in ("max_completion_tokens", "max_tokens")
            if body.get(name) is not None
        }
    )
    effort = _asked_effort(body, headers)
    budget = _asked_budget(body, headers)
    if effort == "none" and budget:
        raise BadRequest(
            f"reasoning_effort 'none' and thinking_token_budget {budget} contradict each other: "
            "leave one out",
            "thinking_token_budget",
        )
    if budget is not None and max_tokens is not None and budget >= max_tokens:
        raise BadRequest(
            f"thinking_token_budget {budget} leaves no room for an answer in max_tokens "
            f"{max_tokens}: lower the budget or raise max_tokens",
            "thinking_token_budget",
        )
    stream = _boolean(body, "stream")
    options = _object(body, "stream_options")
    if options and not stream:
        raise BadRequest("stream_options goes only with stream: true", "stream_options")
    return Asked(
        body=body,
        messages=_messages(body),
        model=_string(body, "model"),
        effort=effort,
        budget=budget,
        max_tokens=max_tokens,
        n=_integer(body, "n", least=1) if body.get("n") is not None else 1,
        stream=stream,
        include_usage=_boolean(options, "include_usage", "stream_options.include_usage"),
    )


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
            raise BadRequest(f"{param}.role must be a string, not {_shown(role)}", f"{param}.role")
        content = cast("dict[str, Any]", message).get("content")
        if content is not None and not isinstance(content, str | list):
            raise BadRequest(
                f"{param}.content must be a string or a list of parts", f"{param}.content"
            )
    return cast("list[dict[str, Any]]", messages)


def _asked_effort(body: dict[str, Any], headers: Mapping[str, str]) -> Effort | None:
    kwargs = _object(body, "chat_template_kwargs")
    said: dict[str, Any] = {
        "reasoning_effort": body.get("reasoning_effort"),
        f"header {EFFORT_HEADER}": headers.get(EFFORT_HEADER),
        "chat_template_kwargs.reasoning_effort": kwargs.get("reasoning_effort"),
    }
    efforts = {name: _level(name, value) for name, value in said.items() if value is not None}
    agreed = _agreed(efforts)
    thinking = kwargs.get("enable_thinking")
    if thinking is False:
        if agreed not in (None, "auto", "none"):
            raise BadRequest(
                f"chat_template_kwargs.enable_thinking false and effort '{agreed}' contradict "
                "each other: leave one out",
                "chat_template_kwargs.enable_thinking",
            )
        return "none"
    if thinking is True and agreed == "none":
        raise BadRequest(
            "chat_template_kwargs.enable_thinking true and effort 'none' contradict each other: "
            "leave one out",
            "chat_template_kwargs.enable_thinking",
        )
    return None if agreed in (None, "auto") else cast("Effort", agreed)


def _level(name: str, value: object) -> str:
    if value not in (*EFFORTS, "auto"):
        raise BadRequest(
            f"{name} must be one of {', '.join(get_args(Effort))} or auto, not {_shown(value)}",
            name.rpartition(" ")[2],
        )
    return cast("str", value)


def _asked_budget(body: dict[str, Any], headers: Mapping[str, str]) -> int | None:
    said: dict[str, int] = {}
    if body.get("thinking_token_budget") is not None:
        said["thinking_token_budget"] = _integer(body, "thinking_token_budget", least=0)
    header = headers.get(BUDGET_HEADER)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) < 10):
            raise BadRequest(
                f"header {BUDGET_HEADER} must be a number of thinking tokens, not {_shown(header)}",
                BUDGET_HEADER,
            )
        said[f"header {BUDGET_HEADER}"] = int(header)
    return _agreed(said)


def _agreed(said: dict[str, _T]) -> _T | None:
    """The one value that all of the named fields give."""
    values = list(said.values())
    if any(value != values[0] for value in values):
        raise BadRequest(
            " and ".join(f"{name} {value}" for name, value in said.items())
            + " contradict each other: leave one out",
            next(iter(said)).rpartition(" ")[2],
        )
    return values[0] if values else None


def _integer(body: dict[str, Any], name: str, least: int) -> int:
    value = body[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadRequest(
            f"{name} must be a whole number of at least {least}, not {_shown(value)}", name
        )
    return value


def _boolean(body: dict[str, Any], name: str, param: str | None = None) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(
            f"{param or name} must be true or false, not {_shown(value)}", param or name
        )
    return bool(value)


def _string(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a string, not {_shown(value)}", name)
    return value


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object, not {_shown(value)}", name)
    return cast("dict[str, Any]", value or {})


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
