"""What the gateway sends to SGLang and vLLM, read by their own request classes.

The classes come out of the engines' wheels (`make test-protocols`); no engine runs. Versions for
CPUs of SGLang, and of vLLM after 0.32, do not exist.
"""

import copy
import os
import zipfile
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_server_chat_templates import STRICT_THINKING
from wheel_protocols import imported

from router.effort import EFFORTS, Effort
from server.api import chat, messages, responses
from server.api.thinking import requested_thinking
from server.chat_templates.efforts import read_efforts
from server.decide.completion_budget import apply_completion_budget
from server.engines.budget_support import BudgetSupport
from server.engines.dialect import CHAT, COMPLETIONS, DIALECTS, MESSAGES, RESPONSES
from server.engines.template_dialect import for_template
from server.errors import BadRequest

WHEELS = os.environ.get("TEST_ENGINE_WHEELS", "")
pytestmark = pytest.mark.skipif(not WHEELS, reason="make test-protocols downloads the wheels")

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
BUDGET = 2000
NATIVE = BudgetSupport("native", True, "measured")
SGLANG = ("srt.entrypoints.openai.protocol", "srt.entrypoints.anthropic.protocol")
VLLM = (
    *("exceptions", "sampling_params", "renderers.params", "entrypoints.serve.engine.protocol"),
    *("entrypoints.generate.base.protocol", "entrypoints.openai.chat_completion.protocol"),
    *("entrypoints.openai.completion.protocol", "entrypoints.openai.responses.protocol"),
    "entrypoints.anthropic.protocol",
)


def wheel(package: str) -> Path:
    (file,) = Path(WHEELS).glob(f"{package}-*.whl")
    return file


@pytest.fixture(scope="module")
def sglang() -> Generator[SimpleNamespace]:
    with imported(wheel("sglang"), "sglang", SGLANG, ("msgspec", "xgrammar")) as modules:
        openai, anthropic = modules
        yield SimpleNamespace(
            chat=openai.ChatCompletionRequest,
            responses=openai.ResponsesRequest,
            messages=anthropic.AnthropicMessagesRequest,
        )


@pytest.fixture(scope="module")
def vllm() -> Generator[SimpleNamespace]:
    shells = ("msgspec", "torch", "numpy", "cachetools", "blake3", "openai_harmony")
    with imported(wheel("vllm"), "vllm", VLLM, shells) as modules:
        *_, chat, completion, responses, anthropic = modules
        yield SimpleNamespace(
            chat=chat.ChatCompletionRequest,
            completion=completion.CompletionRequest,
            responses=responses.ResponsesRequest,
            messages=anthropic.AnthropicMessagesRequest,
        )


def written(api: Any, name: Any, effort: Effort, budget: int | None = None) -> dict[str, Any]:
    """A request as the gateway sends it in a dialect, with a field that no engine has."""
    body: dict[str, Any] = {"input": "hi"} if api is responses else {"messages": HI}
    if api is messages:
        body["max_tokens"] = 9000
    request = api.parse({**body, "unknown": 1}, {})
    return copy.deepcopy(api.write(request, effort, budget, "m", DIALECTS[name]))


def accepts(cls: Any, body: dict[str, Any]) -> bool:
    try:
        cls(**copy.deepcopy(body))
    except Exception:  # noqa: BLE001 - vLLM's own is no ValueError
        return False
    return True


@pytest.mark.parametrize("budget", [None, BUDGET])
@pytest.mark.parametrize("effort", EFFORTS)
def test_sglang_reads_effort_and_budget_of_chat(
    sglang: SimpleNamespace, effort: Effort, budget: int | None
) -> None:
    request = sglang.chat(**written(chat, "sglang", effort, budget))
    assert request.reasoning_effort == effort
    assert request.custom_params == (None if budget is None else {"thinking_budget": budget})
    assert request.chat_template_kwargs["enable_thinking"] is (effort != "none")
    assert request.chat_template_kwargs["thinking"] is (effort != "none")
    assert not hasattr(request, "unknown")  # ignored, as vLLM's budget would be


@pytest.mark.parametrize("effort", EFFORTS)
def test_sglang_reads_the_effort_of_responses_and_messages(
    sglang: SimpleNamespace, effort: Effort
) -> None:
    response = sglang.responses(**written(responses, "sglang", effort))
    assert response.reasoning.effort == effort
    message = sglang.messages(**written(messages, "sglang", effort))
    if effort == "none":
        assert response.chat_template_kwargs["enable_thinking"] is False
        assert message.thinking.type == "disabled"
    else:
        assert message.output_config.effort == ("low" if effort == "minimal" else effort)


@pytest.mark.parametrize("value", ["ultra", "max", "none", 0, 0.5, 0.99, 1.0, -0.1, True, "huge"])
def test_sglang_and_the_gateway_take_the_same_efforts(sglang: SimpleNamespace, value: Any) -> None:
    body = {"model": "m", "messages": HI, "reasoning_effort": value}
    try:
        effort = requested_thinking(body, {}).effort
    except BadRequest:
        effort = None
    assert (effort is not None) == accepts(sglang.chat, body)


def test_sglang_ignores_budgets_but_those_of_chat(sglang: SimpleNamespace) -> None:
    assert DIALECTS["sglang"].budget_paths == (CHAT,)
    body = {"model": "m", "messages": HI, "thinking_token_budget": 5}
    assert not hasattr(sglang.chat(**body), "thinking_token_budget")
    assert "custom_params" not in sglang.responses.model_fields
    with zipfile.ZipFile(wheel("sglang")) as file:
        serving = file.read("sglang/srt/entrypoints/anthropic/serving.py").decode()
    assert "the budget is not enforced" in serving


@pytest.mark.parametrize("budget", [None, BUDGET])
@pytest.mark.parametrize("effort", EFFORTS)
def test_vllm_reads_effort_and_budget(
    vllm: SimpleNamespace, effort: Effort, budget: int | None
) -> None:
    request = vllm.chat(**written(chat, "vllm", effort, budget))
    assert (request.reasoning_effort, request.thinking_token_budget) == (effort, budget)
    variables = request.build_chat_params(None, "auto").chat_template_kwargs
    assert variables["reasoning_effort"] == effort
    assert variables["enable_thinking"] is (effort != "none")
    response = vllm.responses(**written(responses, "vllm", effort))
    assert response.reasoning.effort == effort
    if effort == "none":
        assert response.chat_template_kwargs["enable_thinking"] is False
    message = vllm.messages(**written(messages, "vllm", effort, budget))
    if effort == "none":
        assert message.thinking.type == "disabled"
    else:
        assert message.output_config.effort == ("low" if effort == "minimal" else effort)
        assert (message.thinking and message.thinking.budget_tokens) == budget


@pytest.mark.parametrize("value", [7, 0, -1, -2, 5.0, True, "5"])
def test_vllm_and_the_gateway_take_the_same_budgets(vllm: SimpleNamespace, value: Any) -> None:
    """-1 is no limit; whole numbers as floats, text and booleans are refused."""
    field = {"thinking_token_budget": value}
    try:
        thinking = requested_thinking(field, {})
    except BadRequest:
        assert not accepts(vllm.chat, {"model": "m", "messages": HI, **field})
        assert not accepts(vllm.completion, {"model": "m", "prompt": "hi", **field})
        return
    direct = vllm.completion(model="m", prompt="hi", **field)
    body = {"model": "m", "prompt": "hi", **field}
    sent = apply_completion_budget(body, {}, None, NATIVE, DIALECTS["vllm"])
    assert vllm.completion(**sent).thinking_token_budget == direct.thinking_token_budget
    assert direct.thinking_token_budget == thinking.budget
    assert thinking.unlimited == (value == -1)


def test_vllm_has_budgets_where_the_dialect_says_so(vllm: SimpleNamespace) -> None:
    assert DIALECTS["vllm"].budget_paths == (CHAT, MESSAGES, COMPLETIONS)
    assert RESPONSES not in DIALECTS["vllm"].budget_paths
    ignored = vllm.responses(model="m", input="hi", thinking_token_budget=True)
    assert ignored.model_extra == {"thinking_token_budget": True}
    assert "thinking_token_budget" not in vllm.responses.model_fields


def test_the_least_budget_of_messages_is_that_of_the_dialect(
    sglang: SimpleNamespace, vllm: SimpleNamespace
) -> None:
    least = DIALECTS["vllm"].min_message_budget
    for engine in (sglang, vllm):
        for budget in (least, least - 1):
            thinking = {"type": "enabled", "budget_tokens": budget}
            body = {"model": "m", "max_tokens": 9000, "messages": HI, "thinking": thinking}
            assert accepts(engine.messages, body) == (budget == least)


def test_vllm_s_effort_map_is_applied_to_what_the_gateway_sends(vllm: SimpleNamespace) -> None:
    """`--reasoning-effort-map`: the template gets the other word, thinking stays as decided."""
    effort_map = {"high": "max"}
    for effort, word in (("high", "max"), ("low", "low"), ("none", "none")):
        request = vllm.chat(**written(chat, "vllm", effort))
        variables = request.build_chat_params(None, "auto", effort_map).chat_template_kwargs
        assert variables["reasoning_effort"] == word
        assert variables["enable_thinking"] is (effort != "none")
    template = read_efforts(STRICT_THINKING)
    assert template is not None
    kimi = for_template(DIALECTS["vllm"], template)
    body = chat.write(chat.parse({"messages": HI}, {}), "high", None, "m", kimi)
    variables = vllm.chat(**body).build_chat_params(None, "auto", effort_map).chat_template_kwargs
    assert variables["thinking_effort"] == "high"  # the map knows one variable's name only


def test_vllm_renames_the_reasoning_of_earlier_turns(vllm: SimpleNamespace) -> None:
    turn = {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}
    request = chat.parse({"messages": [*HI, turn, *HI]}, {})
    body = copy.deepcopy(chat.write(request, "low", None, "m", DIALECTS["vllm"]))
    (history,) = [m for m in vllm.chat(**body).messages if m["role"] == "assistant"]
    assert history["reasoning"] == "2 and 2"
    assert "reasoning_content" not in history
