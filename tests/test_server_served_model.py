"""Requests as the served model takes them: an effort behind its name, a length in its context."""

from typing import Any

import pytest

from server.api import chat, messages, responses
from server.api.served_model import for_model
from server.engines.dialect import CHAT, MESSAGES, RESPONSES
from server.engines.model_info import ModelInfo, parse_model
from server.errors import BadRequest

DEMO = ModelInfo("demo", 1024)
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("name", "model", "suffix"),
    [
        ("demo:high", "demo", "high"),
        ("demo:none", "demo", "none"),
        ("demo:auto", "demo", "auto"),
        ("demo:ultra", "demo", "ultra"),
        ("org/demo:low", "org/demo", "low"),
        ("qwen3:8b:low", "qwen3:8b", "low"),
        ("qwen3:8b", "qwen3:8b", None),
        ("demo:high", "demo:high", None),
        ("demo:high:low", "demo:high", "low"),
        ("demo:8b", "demo", None),
        ("demo:HIGH", "demo", None),
        ("demo:", "demo", None),
        ("other:high", "demo", None),
        (":high", "demo", None),
    ],
)
def test_an_effort_behind_the_model_s_name(name: str, model: str, suffix: str | None) -> None:
    assert ModelInfo(model, None).effort_suffix(name) == suffix


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_the_suffix_is_an_explicit_effort(effort: str) -> None:
    request = for_model(chat.parse({**HI, "model": f"demo:{effort}"}, {}), DEMO, CHAT)
    assert request.effort == effort
    agreeing = chat.parse({**HI, "model": f"demo:{effort}", "reasoning_effort": effort}, {})
    assert for_model(agreeing, DEMO, CHAT).effort == effort


@pytest.mark.parametrize("name", ["demo", "demo:auto", None])
def test_without_a_suffix_the_choice_is_open(name: str | None) -> None:
    assert for_model(chat.parse({**HI, "model": name}, {}), DEMO, CHAT).effort is None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("demo:high", {"reasoning_effort": "low"}),
        ("demo:none", {"thinking_token_budget": 5}),
        ("demo:none", {"enable_thinking": True}),
        ("demo:low", {"enable_thinking": False}),
    ],
)
def test_a_suffix_that_contradicts_another_field_is_refused(
    name: str, fields: dict[str, Any]
) -> None:
    request = chat.parse({**HI, "model": name, **fields}, {})
    with pytest.raises(BadRequest, match="leave one out"):
        for_model(request, DEMO, CHAT)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("length", [1024, 2048, 32_000])
def test_a_length_beyond_the_context_is_what_the_context_leaves(field: str, length: int) -> None:
    request = for_model(chat.parse({**HI, field: length, "seed": 1}, {}), DEMO, CHAT)
    assert request.max_tokens is None
    assert request.body == {**HI, "seed": 1}
    response = responses.parse({"input": "hi", "max_output_tokens": length}, {})
    assert for_model(response, DEMO, RESPONSES).body == {"input": "hi"}


def test_messages_keep_a_length_that_leaves_the_prompt_room() -> None:
    body = {"max_tokens": 32_000, "messages": [{"role": "user", "content": "x" * 600}]}
    request = for_model(messages.parse(body, {}), DEMO, MESSAGES)
    assert request.max_tokens == request.body["max_tokens"] == 1024 - 200
    long = {**body, "messages": [{"role": "user", "content": "x" * 6_000}]}
    assert for_model(messages.parse(long, {}), DEMO, MESSAGES).max_tokens == 128


@pytest.mark.parametrize("context", [None, 4096])
def test_a_length_within_the_context_is_left_alone(context: int | None) -> None:
    request = chat.parse({**HI, "max_tokens": 2048}, {})
    assert for_model(request, ModelInfo("demo", context), CHAT) is request


def test_model_cards_have_created_and_the_context_of_any_engine() -> None:
    vllm = parse_model({"id": "m", "max_model_len": 4096, "created": 1_700_000_000})
    assert vllm.card("m:low", ("low", "high")) == {
        "id": "m:low",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "tops",
        "max_model_len": 4096,
        "efforts": ["low", "high"],
    }
    llama = parse_model({"id": "m", "meta": {"n_ctx": 2048}})
    assert llama.context == 2048
    assert parse_model({"id": "m", "created": None}).created > 1_700_000_000
