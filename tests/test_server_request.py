"""Parsing a chat request: effort and budget from all their fields, and errors that name one."""

from typing import Any

import pytest

from server.api.chat import parse
from server.errors import BadRequest
from server.http.headers import headers_of

HI = [{"role": "user", "content": "hi"}]


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": HI, **fields}


@pytest.mark.parametrize(
    ("fields", "headers", "effort", "budget"),
    [
        ({}, {}, None, None),
        ({"reasoning_effort": "auto"}, {}, None, None),
        ({"reasoning_effort": "low"}, {}, "low", None),
        ({"reasoning_effort": None, "thinking_token_budget": None}, {}, None, None),
        ({}, {"x-tops-effort": "high", "x-tops-budget": "12"}, "high", 12),
        ({"reasoning_effort": "low"}, {"x-tops-effort": "low"}, "low", None),
        ({"chat_template_kwargs": {"reasoning_effort": "medium"}}, {}, "medium", None),
        ({"chat_template_kwargs": {"enable_thinking": False}}, {}, "none", None),
        ({"chat_template_kwargs": {"enable_thinking": True}}, {}, None, None),
        ({"thinking_token_budget": 0}, {}, None, 0),
        ({"reasoning_effort": "none", "thinking_token_budget": 0}, {}, "none", 0),
        ({"max_tokens": 10, "thinking_token_budget": 9}, {}, None, 9),
    ],
)
def test_effort_and_budget(
    fields: dict[str, Any], headers: dict[str, str], effort: str | None, budget: int | None
) -> None:
    request = parse(body(**fields), headers)
    assert (request.effort, request.budget) == (effort, budget)


@pytest.mark.parametrize(
    ("fields", "headers", "param", "message"),
    [
        ({"messages": []}, {}, "messages", "at least one"),
        ({"messages": "hi"}, {}, "messages", "list"),
        ({"messages": ["hi"]}, {}, "messages[0]", "object"),
        ({"messages": [{"role": 1}]}, {}, "messages[0].role", "string"),
        ({"messages": [{"role": "user", "content": 3}]}, {}, "messages[0].content", "parts"),
        ({"model": 3}, {}, "model", "string"),
        ({"stream": "yes"}, {}, "stream", "true or false"),
        ({"max_tokens": 0}, {}, "max_tokens", "at least 1"),
        ({"n": "two"}, {}, "n", "whole number"),
        ({"max_tokens": True}, {}, "max_tokens", "whole number"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {}, "max_completion_tokens", "contradict"),
        ({"reasoning_effort": "lots"}, {}, "reasoning_effort", "'lots'"),
        ({"reasoning_effort": ["low"]}, {}, "reasoning_effort", "one of"),
        ({}, {"x-tops-effort": "turbo"}, "x-tops-effort", "one of"),
        ({}, {"x-tops-budget": "-3"}, "x-tops-budget", "thinking tokens"),
        ({}, {"x-tops-budget": "9" * 40}, "x-tops-budget", "thinking tokens"),
        ({"thinking_token_budget": -2}, {}, "thinking_token_budget", "at least 0, or -1"),
        ({"thinking_token_budget": 1.5}, {}, "thinking_token_budget", "whole number"),
        ({"reasoning_effort": "low"}, {"x-tops-effort": "high"}, "reasoning_effort", "contradict"),
        (
            {"thinking_token_budget": 5},
            {"x-tops-budget": "6"},
            "thinking_token_budget",
            "contradict",
        ),
        (
            {"reasoning_effort": "none", "thinking_token_budget": 5},
            {},
            "thinking_token_budget",
            "contradict",
        ),
        (
            {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": False}},
            {},
            "chat_template_kwargs.enable_thinking",
            "contradict",
        ),
        ({"max_tokens": 10, "thinking_token_budget": 10}, {}, "thinking_token_budget", "no room"),
        ({"stream_options": {"include_usage": True}}, {}, "stream_options", "stream: true"),
    ],
)
def test_an_error_names_the_field_that_is_wrong(
    fields: dict[str, Any], headers: dict[str, str], param: str, message: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body(**fields), headers)
    assert refused.value.param == param
    assert message in refused.value.message


def test_white_space_after_a_header_s_value_is_not_part_of_it() -> None:
    headers = headers_of({"headers": [(b"x-tops-effort", b"low \t"), (b"x-tops-budget", b"7 ")]})
    thinking = parse(body(), headers).thinking
    assert (thinking.effort, thinking.budget) == ("low", 7)
