"""The efforts that chat templates take, and how engines are told them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from router.effort import Effort
from server.api import chat, messages, responses
from server.chat_templates.compiling import compile_template
from server.chat_templates.efforts import read_efforts
from server.engines.dialect import DIALECTS, Name
from server.engines.template_dialect import for_template

DEMO = (Path(__file__).parent.parent / "models" / "demo" / "chat_template.jinja").read_text()
TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
SWITCH = TURNS + "{% if not enable_thinking | default(true) %}<think></think>{% endif %}"
WORDS = ["low", "medium", "xhigh"]
STRICT = (
    TURNS + "{% set w = reasoning_effort | default('xhigh') %}"
    "{% if not enable_thinking | default(true) %}<think></think>{% else %}"
    f"{{% if w not in {WORDS} %}}{{{{ raise_exception('unknown effort ' ~ w) }}}}{{% endif %}}"
    "{{ w }}<think>{% endif %}"
)
"""As Qwen3.8's."""
STRICT_THINKING = (
    TURNS + "{% set w = thinking_effort | default('max') %}"
    "{% if w not in ['low', 'high', 'max'] %}{{ raise_exception('unknown') }}{% endif %}{{ w }}"
)
"""As Kimi-K3's."""


def on(name: str = "enable_thinking", **variables: Any) -> dict[str, Any]:
    return {name: True, **variables}


OFF: dict[str, Any] = {"enable_thinking": False}


@pytest.mark.parametrize(
    ("template", "variables", "default"),
    [
        (TURNS, {"none": {}}, "none"),
        (TURNS + "<think>\n", {"high": {}}, "high"),
        (SWITCH, {"none": OFF, "high": on()}, "high"),
        (
            SWITCH.replace("enable_thinking", "thinking"),
            {"none": {"thinking": False}, "high": on("thinking")},
            "high",
        ),
        (SWITCH.replace("(true)", "(false)"), {"none": OFF, "high": on()}, "high"),
        (
            STRICT,
            {"none": OFF, **{word: on(reasoning_effort=word) for word in WORDS}},
            "xhigh",
        ),
        (
            STRICT_THINKING,
            {word: {"thinking_effort": word} for word in ("low", "high", "max")},
            "max",
        ),
        (  # any word is printed
            TURNS + "Reasoning: {{ reasoning_effort | default('medium') }}",
            {word: {"reasoning_effort": word} for word in ("low", "medium", "high")},
            "medium",
        ),
        (  # an unknown word is the default
            TURNS
            + "{% if reasoning_effort == 'low' %}short{% elif reasoning_effort == 'high' %}long"
            "{% else %}as ever{% endif %}",
            {word: {"reasoning_effort": word} for word in ("low", "medium", "high")},
            "medium",
        ),
        (  # `none` is no level of its own
            TURNS + "{% if reasoning_effort in ['none', 'low'] %}short{% endif %}",
            {word: {"reasoning_effort": word} for word in ("low", "high")},
            "high",
        ),
        (
            TURNS + "{% if reasoning_effort == 'none' %}<think></think>{% endif %}",
            {word: {"reasoning_effort": word} for word in ("none", "high")},
            "high",
        ),
        (
            DEMO,
            {
                "none": OFF,
                **{word: on(reasoning_effort=word) for word in ("low", "medium", "high")},
            },
            "high",
        ),
    ],
)
def test_efforts_of_a_template(template: str, variables: dict[str, Any], default: Effort) -> None:
    efforts = read_efforts(template)
    assert efforts is not None
    assert dict(efforts.variables) == variables
    assert list(efforts.variables) == list(variables)  # cheapest first
    assert efforts.default == default


@pytest.mark.parametrize("template", ["{% if %}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"])
def test_a_template_that_cannot_be_rendered_tells_nothing(template: str) -> None:
    assert read_efforts(template) is None


def test_what_chat_templates_use_besides_jinja() -> None:
    text = (
        "{% for n in [1, 2] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}"
        "{% generation %}x{% endgeneration %}{{ {'a': 'ö<'} | tojson }}{{ strftime_now('%%') }}"
    )
    assert compile_template(text).render() == '1x{"a": "ö<"}%'


TRL_EFFORTS = {
    "qwen3": ("none", "high"),
    "qwen3_8": ("none", "low", "medium", "xhigh"),
    "qwen3_instruct_2507": ("none",),
    "gptoss": ("low", "medium", "high"),
    "glm4moe": ("none", "high"),
    "deepseek_r1_distill": ("high",),
    "nemotron_3_nano": ("none", "high"),
    "muse_glimmer": ("low", "medium", "high"),
    "llama3_2": ("none",),
}


@pytest.mark.skipif(not find_spec("trl"), reason="TRL, which has the templates, is not installed")
@pytest.mark.parametrize("name", TRL_EFFORTS)
def test_efforts_of_published_templates(name: str) -> None:
    (folder,) = find_spec("trl").submodule_search_locations or []  # type: ignore[union-attr]
    efforts = read_efforts((Path(folder) / "chat_templates" / f"{name}.jinja").read_text())
    assert efforts is not None
    assert efforts.efforts == TRL_EFFORTS[name]


HI = [{"role": "user", "content": "hi"}]


def sent(api: Any, template: str, name: Name, effort: Effort, budget: int | None) -> dict[str, Any]:
    efforts = read_efforts(template)
    assert efforts is not None
    plain = {"input": "hi"} if api is responses else {"messages": HI}
    request = api.parse({**plain, "chat_template_kwargs": {"mine": 1}}, {})
    return api.write(request, effort, budget, "m", for_template(DIALECTS[name], efforts))


@pytest.mark.parametrize("api", [chat, responses, messages])
@pytest.mark.parametrize("name", ["vllm", "sglang", "llama.cpp"])
def test_a_word_that_the_template_refuses_is_not_sent(api: Any, name: Name) -> None:
    off = sent(api, STRICT, name, "none", None)
    assert off["chat_template_kwargs"] == {"mine": 1, "enable_thinking": False}
    assert "reasoning_effort" not in off
    assert "effort" not in (off.get("reasoning") or off.get("output_config") or {})
    low = sent(api, STRICT, name, "low", None)
    assert low["chat_template_kwargs"] == {"mine": 1, **on(reasoning_effort="low")}


def test_variables_of_any_name_are_sent() -> None:
    body = sent(chat, STRICT_THINKING, "vllm", "max", 50)
    assert body["chat_template_kwargs"] == {"mine": 1, "thinking_effort": "max"}
    assert body["thinking_token_budget"] == 50


def test_a_budget_of_0_is_thinking_switched_off_where_the_template_can() -> None:
    body = sent(chat, DEMO, "llama.cpp", "high", 0)
    assert body["chat_template_kwargs"]["enable_thinking"] is False
    assert "thinking_budget_tokens" not in body
    always = sent(chat, TURNS + "<think>\n", "llama.cpp", "high", 0)
    assert always["thinking_budget_tokens"] == 1  # which the line break uses up


@pytest.mark.parametrize("name", ["vllm", "openai"])
def test_a_dialect_that_says_it_already_is_left_alone(name: Name) -> None:
    efforts = read_efforts(DEMO)
    assert efforts is not None
    assert for_template(DIALECTS[name], efforts) is DIALECTS[name]
