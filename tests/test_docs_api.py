"""The API reference, field by field: each request field is treated as its table says."""

import re
from typing import Any

import pytest
from paths import ROOT

from server.api.chat import parse, write
from server.engines.dialect import DIALECTS
from server.errors import BadRequest

PAGE = (ROOT / "docs" / "reference" / "api.md").read_text()
MESSAGES = [{"role": "user", "content": "hi"}]
FORWARDED: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "response_format": {"type": "json_object"},
    "temperature": 0.5,
    "logprobs": True,
    "seed": 1,
    "user": "u",
    "unknown_field": {"deeply": ["nested"]},
    "max_tokens": 100,
    "max_completion_tokens": 100,
    "n": 2,
    "stream": False,
    "messages": MESSAGES,
}
"""Fields that reach the engine as they are."""


def body(name: str, value: Any) -> dict[str, Any]:
    owner, _, key = name.partition(".")
    return {"messages": MESSAGES, owner: {key: value} if key else value}


def written(request: dict[str, Any]) -> dict[str, Any]:
    """The body for an engine, with the effort `high` and no budget."""
    return write(parse(request, {}), "high", None, "served", DIALECTS["openai"])


@pytest.mark.parametrize("name", FORWARDED)
def test_any_other_field_is_forwarded_unchanged(name: str) -> None:
    assert written(body(name, FORWARDED[name]))[name] == FORWARDED[name]


def test_usage_is_always_on_towards_the_engine() -> None:
    assert written({"messages": MESSAGES, "stream": True})["stream_options"] == {
        "include_usage": True
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
        {"thinking_token_budget": 5, "thinking": {"budget_tokens": 6}},
        {"reasoning_effort": "none", "thinking_token_budget": 5},
        {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}},
        {"thinking_token_budget": 5, "max_tokens": 5},
        {"stream_options": {"include_usage": True}},
        {"n": "two"},
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        parse({"messages": MESSAGES, **fields}, {})
    assert refused.value.param is not None


def test_the_table_lists_the_decision_s_headers() -> None:
    section = PAGE[PAGE.index("## Response") :]
    listed = set(re.findall(r"^\| `(x-tops-[\w-]+)`", section, re.MULTILINE))
    source = (ROOT / "server" / "decide" / "headers.py").read_text()
    assert listed == set(re.findall(r'b"(x-tops-[\w-]+)"', source))
