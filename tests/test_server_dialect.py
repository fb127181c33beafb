"""How each engine is told a decision, and how its usage is read: golden, and true to the SDKs."""

import math
from typing import Any

import pytest
from pydantic import TypeAdapter

from router.effort import EFFORTS, Effort
from server.api import chat, messages, responses
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import DIALECTS, Name
from server.engines.usage import Usage, read_usage

HI = [{"role": "user", "content": "hi"}]
SAID: dict[Name, dict[tuple[Effort, int | None], dict[str, Any]]] = {
    "vllm": {
        ("low", None): {"reasoning_effort": "low"},
        ("low", 50): {"reasoning_effort": "low", "thinking_token_budget": 50},
        ("none", None): {"reasoning_effort": "none"},
        ("none", 0): {"reasoning_effort": "none", "thinking_token_budget": 0},
    },
    "sglang": {
        ("high", 50): {"reasoning_effort": "high", "custom_params": {"thinking_budget": 50}},
        ("none", None): {
            "reasoning_effort": "none",
            "chat_template_kwargs": {"enable_thinking": False},
        },
        ("none", 0): {
            "reasoning_effort": "none",
            "chat_template_kwargs": {"enable_thinking": False},
            "custom_params": {"thinking_budget": 0},
        },
    },
    "llama.cpp": {
        ("low", 50): {
            "chat_template_kwargs": {"reasoning_effort": "low", "enable_thinking": True},
            "thinking_budget_tokens": 50,
        },
        ("low", 0): {
            "chat_template_kwargs": {"reasoning_effort": "low", "enable_thinking": False},
            "thinking_budget_tokens": 1,
        },
        ("none", None): {
            "chat_template_kwargs": {"reasoning_effort": "none", "enable_thinking": False},
        },
        ("none", 5): {
            "chat_template_kwargs": {"reasoning_effort": "none", "enable_thinking": False},
            "thinking_budget_tokens": 8,
        },
    },
    "openai": {
        ("minimal", None): {"reasoning_effort": "minimal"},
        ("none", 0): {"reasoning_effort": "none"},
    },
    "openrouter": {
        ("xhigh", None): {"reasoning": {"effort": "xhigh"}},
        ("low", 50): {"reasoning": {"max_tokens": 50}},
        ("none", 0): {"reasoning": {"effort": "none"}},
    },
    "deepseek": {
        ("high", None): {"reasoning_effort": "high", "thinking": {"type": "enabled"}},
        ("none", 0): {"thinking": {"type": "disabled"}},
    },
    "anthropic": {
        ("high", None): {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}},
        ("high", 2048): {
            "output_config": {"effort": "high"},
            "thinking": {"type": "enabled", "budget_tokens": 2048},
        },
        ("none", 0): {"thinking": {"type": "disabled"}},
    },
}


@pytest.mark.parametrize("name", DIALECTS)
def test_what_each_dialect_is_told(name: Name) -> None:
    for (effort, budget), said in SAID[name].items():
        asked = chat.parse({"messages": HI, "kept": {"as": 1}}, {})
        body = chat.write(asked, effort, budget, "m", DIALECTS[name])
        assert body == {"messages": HI, "kept": {"as": 1}, "model": "m", **said}


EVERY_WAY: list[dict[str, Any]] = [
    {"reasoning_effort": "low", "thinking_token_budget": 2000},
    {"chat_template_kwargs": {"reasoning_effort": "low"}, "thinking_budget_tokens": 2000},
    {"reasoning": {"effort": "low", "max_tokens": 2000}},
    {"reasoning_effort": "low", "thinking": {"type": "enabled", "budget_tokens": 2000}},
    {"reasoning_effort": "low", "custom_params": {"thinking_budget": 2000}},
]


@pytest.mark.parametrize("said", EVERY_WAY)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_client_may_use_any_dialect_in_front_of_any_engine(
    name: Name, said: dict[str, Any]
) -> None:
    asked = chat.parse({"messages": HI, **said}, {})
    assert (asked.effort, asked.budget) == ("low", 2000)
    plain = chat.parse({"messages": HI}, {})
    assert chat.write(asked, "low", 2000, "m", DIALECTS[name]) == chat.write(
        plain, "low", 2000, "m", DIALECTS[name]
    )


def test_what_is_not_ours_in_a_shared_object_is_kept() -> None:
    body = {
        "messages": HI,
        "reasoning": {"effort": "low", "exclude": True},
        "custom_params": {"thinking_budget": 9, "other": 1},
        "chat_template_kwargs": {"enable_thinking": True, "custom": 2},
    }
    sent = chat.write(chat.parse(body, {}), "low", 9, "m", DIALECTS["openrouter"])
    assert sent["reasoning"] == {"exclude": True, "max_tokens": 9}
    assert sent["custom_params"] == {"other": 1}
    assert sent["chat_template_kwargs"] == {"custom": 2}
    assert body["reasoning"] == {"effort": "low", "exclude": True}


def test_the_sdks_know_what_is_sent() -> None:
    from anthropic.types import OutputConfigParam, ThinkingConfigParam
    from openai.types import ReasoningEffort
    from openai.types.shared_params import Reasoning

    thinking, config = TypeAdapter(ThinkingConfigParam), TypeAdapter(OutputConfigParam)
    effort, reasoning = TypeAdapter(ReasoningEffort), TypeAdapter(Reasoning)
    for said in SAID["anthropic"].values():
        thinking.validate_python(said["thinking"])
        config.validate_python(said.get("output_config", {}))
    for level in EFFORTS:
        body = chat.write(chat.parse({"messages": HI}, {}), level, None, "m", DIALECTS["openai"])
        effort.validate_python(body["reasoning_effort"])
        asked = responses.parse({"input": "hi"}, {})
        sent = responses.write(asked, level, None, "m", DIALECTS["openai"])
        reasoning.validate_python(sent["reasoning"])
        asked = messages.parse({"messages": HI, "max_tokens": 9000}, {})
        for budget in (None, 4000):
            sent = messages.write(asked, level, budget, "m", DIALECTS["vllm"])
            thinking.validate_python(sent.get("thinking", {"type": "adaptive"}))
            config.validate_python(sent.get("output_config", {}))


def usage(**counts: Any) -> dict[str, Any]:
    return {"usage": counts}


BOTH = {"prompt_tokens": 5, "completion_tokens": 7}


REPORTED: list[tuple[dict[str, Any], Usage | None]] = [
    (usage(prompt_tokens=5, completion_tokens=7), Usage(5, 7, None)),
    (
        usage(
            prompt_tokens=5,
            completion_tokens=7,
            completion_tokens_details={"reasoning_tokens": 4},
        ),
        Usage(5, 7, 4),
    ),
    (usage(prompt_tokens=5, completion_tokens=7, reasoning_tokens=4), Usage(5, 7, 4)),
    (
        usage(input_tokens=5, output_tokens=7, output_tokens_details={"reasoning_tokens": 4}),
        Usage(5, 7, 4),
    ),
    (
        usage(
            input_tokens=5,
            cache_read_input_tokens=30,
            cache_creation_input_tokens=None,
            output_tokens=7,
            output_tokens_details={"thinking_tokens": 4},
        ),
        Usage(35, 7, 4, cached=30),
    ),
    (  # xAI counts thinking beside the completion
        usage(
            prompt_tokens=32,
            completion_tokens=100,
            total_tokens=182,
            completion_tokens_details={"reasoning_tokens": 50},
        ),
        Usage(32, 150, 50),
    ),
    (
        usage(
            prompt_tokens=32,
            completion_tokens=100,
            total_tokens=132,
            completion_tokens_details={"reasoning_tokens": 50},
        ),
        Usage(32, 100, 50),
    ),
    ({"choices": [{"index": 0, "delta": {}, **usage(**BOTH)}]}, Usage(5, 7, None)),  # Kimi
    ({"choices": [], "usage": None, "x_groq": usage(**BOTH)}, Usage(5, 7, None)),
    (
        {**usage(**BOTH), "x_groq": usage(prompt_tokens=1, completion_tokens=1)},
        Usage(5, 7, None),
    ),
    (
        usage(prompt_tokens=8, completion_tokens=10, total_tokens=118),
        Usage(8, 110, 100),
    ),  # Gemini
    (usage(prompt_tokens=8, completion_tokens=10, total_tokens=18), Usage(8, 10, None)),
    (usage(prompt_tokens=8, completion_tokens=10, total_tokens=9), Usage(8, 10, None)),
    (usage(prompt_tokens=8, completion_tokens=10, total_tokens=2**63), Usage(8, 10, None)),
    (
        usage(
            prompt_tokens=8,
            completion_tokens=10,
            total_tokens=48,
            prompt_tokens_details={"cached_tokens": 30},
        ),
        Usage(8, 10, None, cached=8),
    ),
    (usage(prompt_tokens="5", completion_tokens=7), None),
    (usage(prompt_tokens=True, completion_tokens=7), None),
    (usage(prompt_tokens=5, completion_tokens=2**63), None),
    (usage(prompt_tokens=10**30, completion_tokens=7), None),
    (usage(prompt_tokens=5, completion_tokens=-7), None),
    (usage(prompt_tokens=5, completion_tokens=7, reasoning_tokens=True), Usage(5, 7, None)),
    (usage(prompt_tokens=5, completion_tokens=7, reasoning_tokens=2**63), None),
    (usage(prompt_tokens=5), None),
    ({"usage": [1]}, None),
    ({}, None),
]


@pytest.mark.parametrize(("reported", "read"), REPORTED)
def test_usage_of_every_dialect(reported: dict[str, Any], read: Usage | None) -> None:
    assert read_usage(reported) == read


def with_floats(counts: Any) -> Any:
    """Counts as engines write them that have no integers: 12.0."""
    if isinstance(counts, dict):
        return {name: with_floats(count) for name, count in counts.items()}
    if isinstance(counts, list):
        return [with_floats(count) for count in counts]
    return float(counts) if type(counts) is int else counts


@pytest.mark.parametrize(("reported", "read"), REPORTED)
def test_whole_floats_are_counts_too(reported: dict[str, Any], read: Usage | None) -> None:
    assert read_usage(with_floats(reported)) == read


@pytest.mark.parametrize("count", [12.5, math.nan, math.inf, -math.inf, -1.0])
def test_other_floats_are_no_counts(count: float) -> None:
    assert read_usage(usage(prompt_tokens=count, completion_tokens=7)) is None
    assert read_usage(usage(prompt_tokens=5, completion_tokens=count)) is None


def test_a_count_that_is_ignored_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        assert read_usage(usage(input_tokens=5, output_tokens="text of the answer")) is None
    out = capsys.readouterr().out
    assert out.count("not plausible") <= 1
    assert "text of" not in out


def test_usage_as_the_sdks_write_it() -> None:
    from openai.types import CompletionUsage
    from openai.types.responses import ResponseUsage

    chat_usage = CompletionUsage.model_validate(
        {
            "prompt_tokens": 5,
            "completion_tokens": 7,
            "total_tokens": 12,
            "completion_tokens_details": {"reasoning_tokens": 4},
        }
    )
    response_usage = ResponseUsage.model_validate(
        {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 4},
            "total_tokens": 12,
        }
    )
    for one in (chat_usage, response_usage):
        assert read_usage({"usage": one.model_dump()}) == Usage(5, 7, 4)


NATIVE, TWO = BudgetSupport("native", True, "seen"), BudgetSupport("two-phase", True, "seen")


def test_an_engine_that_counts_its_sentence_on_top_is_told_less() -> None:
    on_top = BudgetSupport("native", True, "seen", 20)
    assert [on_top.budget_to_send(budget) for budget in (100, 40, 39, 0)] == [80, 20, None, None]
    assert [
        NATIVE.budget_to_send(5),
        BudgetSupport("native", True, "seen", -1).budget_to_send(5),
    ] == [5, 5]
    assert TWO.budget_to_send(100) is None
    assert (on_top.undershoot, BudgetSupport("native", True, "seen", -1).undershoot) == (0, 1)
