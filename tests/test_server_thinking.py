"""The table of fields for effort, budget, off and no limit: each of them, on every API."""

import re
from typing import Any

import pytest

from server.api import chat, messages, responses
from server.api.protocol import Api
from server.api.thinking import RequestedThinking, requested_thinking, without_thinking
from server.api.thinking_fields import FIELDS
from server.engines.dialect import DIALECTS
from server.errors import BadRequest

HI = [{"role": "user", "content": "hi"}]
OFF, ON = RequestedThinking(effort="none"), RequestedThinking(thinks=True)
OPEN = RequestedThinking()
LOW = RequestedThinking(effort="low")


def effort(level: Any) -> RequestedThinking:
    return RequestedThinking(effort=level)


def tokens(budget: int, name: str) -> RequestedThinking:
    return RequestedThinking(budget=budget, budget_field=name)


def unlimited(name: str) -> RequestedThinking:
    return RequestedThinking(unlimited=True, budget_field=name)


EFFORTS: list[tuple[Any, RequestedThinking | None]] = [
    *((level, effort(level)) for level in ("none", "minimal", "low", "medium", "high", "xhigh")),
    ("max", effort("max")),
    ("ultra", effort("max")),
    ("auto", OPEN),
    ("default", OPEN),
    ("disable", OFF),
    *((share, effort("minimal")) for share in (0, 0.0, 0.14)),
    *((share, effort("low")) for share in (0.16, 0.3)),
    *((share, effort("medium")) for share in (0.4, 0.5)),
    *((share, effort("high")) for share in (0.7, 0.8)),
    (0.9, effort("xhigh")),
    (0.99, effort("max")),
    *((wrong, None) for wrong in ("lots", "", 1, 0.995, -0.1, True, False, ["low"], {})),
]
SWITCHES: list[tuple[Any, RequestedThinking | None]] = [
    (True, ON),
    (False, OFF),
    *((wrong, None) for wrong in ("false", "true", 0, 1, "off", [], {})),
]
MODES: list[tuple[Any, RequestedThinking | None]] = [
    ("enabled", ON),
    ("disabled", OFF),
    *((word, OPEN) for word in ("adaptive", "auto", "between_tools", "a word of next year")),
    *((wrong, None) for wrong in (True, 1, {}, ["enabled"])),
]
WRONG_BUDGETS = (-2, 1.5, 5.0, "5", True, False, [5], {})


def budgets(name: str) -> list[tuple[Any, RequestedThinking | None]]:
    return [
        *((count, tokens(count, name)) for count in (0, 7, 10**9)),
        (-1, unlimited(name)),
        *((wrong, None) for wrong in WRONG_BUDGETS),
    ]


def bounded(name: str) -> list[tuple[Any, RequestedThinking | None]]:
    return [(value, None if value == -1 else requested) for value, requested in budgets(name)]


def gemini(prefix: str) -> dict[str, list[tuple[Any, RequestedThinking | None]]]:
    budget = f"{prefix}.thinking_budget"
    return {
        budget: [
            (7, tokens(7, budget)),
            (0, OFF),
            (-1, OPEN),
            *((wrong, None) for wrong in WRONG_BUDGETS),
        ],
        f"{prefix}.thinking_level": [
            ("low", LOW),
            ("HIGH", effort("high")),
            ("MINIMAL", effort("minimal")),
            ("THINKING_LEVEL_UNSPECIFIED", OPEN),
            ("lots", None),
            (True, None),
        ],
        f"{prefix}.include_thoughts": [(True, OPEN), (False, OPEN), ("true", None), (1, None)],
    }


TEMPLATE_MODES: list[tuple[Any, RequestedThinking | None]] = [
    *((word, ON) for word in ("enabled", "on", "thinking", "Enabled")),
    *((word, OFF) for word in ("disabled", "off", "chat", "OFF")),
    *((word, OPEN) for word in ("adaptive", "", "a word of next year")),
    *((wrong, None) for wrong in (True, False, 0, [], {})),
]
BUDGETS = (
    *("thinking_token_budget", "thinking_budget_tokens", "reasoning_budget_tokens"),
    *("reasoning_budget", "max_thinking_tokens", "thinking_budget"),
    *("custom_params.thinking_budget", "chat_template_kwargs.thinking_budget"),
    "chat_template_kwargs.reasoning_budget",
)
TABLE: dict[str, list[tuple[Any, RequestedThinking | None]]] = {
    "reasoning_effort": EFFORTS,
    "reasoning.effort": EFFORTS,
    "reasoning.reasoning_effort": EFFORTS,
    "output_config.effort": EFFORTS,
    "thinking.effort": EFFORTS,
    "chat_template_kwargs.reasoning_effort": EFFORTS,
    "chat_template_kwargs.thinking_effort": EFFORTS,
    **{name: budgets(name) for name in BUDGETS},
    "chat_template_kwargs.thinking_mode": TEMPLATE_MODES,
    "chat_template_kwargs.thinking_option": TEMPLATE_MODES,
    "chat_template_kwargs.force_reasoning": [(True, ON), (False, OPEN), ("true", None), (0, None)],
    "chat_template_kwargs.skip_reasoning": [(True, OFF), (False, OPEN), ("true", None), (0, None)],
    "nvext.max_thinking_tokens": bounded("nvext.max_thinking_tokens"),
    "reasoning.max_tokens": bounded("reasoning.max_tokens"),
    "thinking.budget_tokens": bounded("thinking.budget_tokens"),
    "thinking.token_budget": bounded("thinking.token_budget"),
    "thinking.type": [*MODES, ("ENABLED", ON), ("Disabled", OFF)],
    "enable_thinking": SWITCHES,
    "reasoning.enabled": SWITCHES,
    "reasoning.enable": SWITCHES,
    "chat_template_kwargs.enable_thinking": SWITCHES,
    "chat_template_kwargs.thinking": SWITCHES,
    "think": [(True, ON), (False, OFF), ("high", effort("high")), ("on", None), (1, None)],
    "reasoning.exclude": [(True, OPEN), (False, OPEN), ("yes", None)],
    **gemini("extra_body.google.thinking_config"),
    **gemini("google.thinking_config"),
    **gemini("thinking_config"),
    **gemini("generation_config.thinking_config"),
}
"""By field: its values, and what each of them asks for; None where it is refused."""


def body(name: str, value: Any) -> dict[str, Any]:
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize(
    "config",
    [
        "extra_body.google.thinkingConfig",
        "google.thinking_config",
        "generationConfig.thinkingConfig",
    ],
)
def test_gemini_s_own_spelling_asks_for_the_same(config: str) -> None:
    name = f"{config}.thinkingBudget"
    assert requested_thinking(body(name, 7), {}) == tokens(7, name)
    assert without_thinking(body(name, 7)) == {}
    assert requested_thinking(body(f"{config}.thinkingLevel", "HIGH"), {}) == effort("high")
    shown = body(f"{config}.includeThoughts", True)
    assert requested_thinking(shown, {}) == OPEN
    assert without_thinking(shown) == shown
    with pytest.raises(BadRequest, match=re.escape(f"{name} must be a whole number")):
        requested_thinking(body(name, "7"), {})


def test_two_spellings_that_differ_are_refused() -> None:
    both = {"google": {"thinking_config": {"thinking_budget": 7, "thinkingBudget": 8}}}
    with pytest.raises(BadRequest, match="thinkingBudget"):
        requested_thinking(both, {})


def test_every_field_is_tested() -> None:
    assert set(TABLE) == {field.name for field in FIELDS}


@pytest.mark.parametrize("name", TABLE)
def test_what_the_values_of_a_field_ask_for(name: str) -> None:
    for value, requested in TABLE[name]:
        if requested is not None:
            assert requested_thinking(body(name, value), {}) == requested, value
            continue
        with pytest.raises(BadRequest) as refused:
            requested_thinking(body(name, value), {})
        assert refused.value.param == name, value
        assert refused.value.message.startswith(name), value
    assert requested_thinking(body(name, None), {}) == OPEN


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_is_removed_and_its_neighbours_stay(field: Any) -> None:
    request = {"kept": [1], **body(field.name, "x")}
    expected = request if field.forwarded else {"kept": [1]}
    assert without_thinking(request) == expected
    root = field.paths[0][0]
    if len(field.paths[0]) > 1:
        beside = {root: {**request[root], "beside": 1}}
        assert without_thinking(beside)[root]["beside"] == 1
        for depth in range(1, len(field.paths[0])):
            owner = ".".join(field.paths[0][:depth])
            with pytest.raises(BadRequest) as refused:
                requested_thinking(body(owner, "no object"), {})
            assert refused.value.param == owner


@pytest.mark.parametrize("name", ["enable_thinking", "thinking", "chat_template_kwargs"])
def test_the_parameter_of_sdks_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(BadRequest, match=f"send {name} there") as refused:
        requested_thinking({"extra_body": {name: False, "top_k": 5}}, {})
    assert refused.value.param == f"extra_body.{name}"
    assert requested_thinking({"extra_body": {"top_k": 5}}, {}) == OPEN


def test_an_object_that_is_null_is_absent() -> None:
    """Engines refuse some of them where the SDK of a client writes each field."""
    roots = {field.paths[0][0] for field in FIELDS if len(field.paths[0]) > 1}
    assert without_thinking({"kept": 1, "user": None, **dict.fromkeys(roots)}) == {
        "kept": 1,
        "user": None,
    }


CASES = [(name, value, requested) for name, rows in TABLE.items() for value, requested in rows]


@pytest.mark.parametrize("api", [chat, responses, messages], ids=["chat", "responses", "messages"])
def test_every_field_is_read_and_removed_on_every_api(api: Api) -> None:
    plain: dict[str, Any] = {"input": "hi"} if api is responses else {"messages": HI}
    for dialect in DIALECTS.values():
        expected = api.write(api.parse(plain, {}), "high", None, "m", dialect)
        for name, value, requested in CASES:
            if requested is None or (api is messages and name.startswith("thinking.")):
                continue  # Anthropic's own rules for `thinking` are tested with its API
            written = api.write(
                api.parse({**plain, **body(name, value)}, {}), "high", None, "m", dialect
            )
            shown = {
                field.paths[0][0] for field in FIELDS if field.forwarded and field.name == name
            }
            variable = {"chat_template_kwargs"} & {name.partition(".")[0]}
            assert without(written, shown | variable) == without(expected, shown | variable)


def without(fields: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


@pytest.mark.parametrize(
    ("fields", "headers", "param"),
    [
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, {}, "reasoning_effort"),
        ({"reasoning_effort": 0.5, "output_config": {"effort": "low"}}, {}, "reasoning_effort"),
        ({"thinking_budget": 5}, {"x-tops-budget": "-1"}, "thinking_budget"),
        ({"thinking_budget": 5, "thinking_token_budget": -1}, {}, "thinking_token_budget"),
        ({"enable_thinking": True, "think": False}, {}, "enable_thinking"),
        ({"enable_thinking": False, "reasoning_effort": "low"}, {}, "enable_thinking"),
        ({"think": "low", "thinking": {"type": "disabled"}}, {}, "thinking.type"),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "none"}, {}, "thinking.type"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    fields: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    with pytest.raises(BadRequest, match="contradict each other: leave one out") as refused:
        requested_thinking(fields, headers)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"reasoning_effort": True}, "not true"),
        ({"enable_thinking": [None]}, "not [null]"),
        ({"reasoning_effort": "lo"}, "not 'lo'"),
        ({"enable_thinking": True, "think": False}, "enable_thinking true and think false"),
    ],
)
def test_messages_show_values_as_json(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(says)):
        requested_thinking(fields, {})


def test_the_effort_of_whole_answers_may_be_sent_with_thinking_off() -> None:
    fields = {"output_config": {"effort": "high"}, "thinking": {"type": "disabled"}}
    assert requested_thinking(fields, {}).effort == "none"


def test_fields_that_agree_may_be_used_together() -> None:
    fields = {
        "reasoning_effort": "max",
        "reasoning": {"effort": "ultra", "enabled": True},
        "thinking": {"type": "enabled", "budget_tokens": 9},
        "chat_template_kwargs": {"thinking": True, "enable_thinking": True, "thinking_budget": 9},
    }
    requested = requested_thinking(fields, {"x-tops-effort": "max", "x-tops-budget": "9"})
    assert (requested.effort, requested.budget, requested.thinks) == ("max", 9, True)
    off = requested_thinking({"enable_thinking": False, "thinking_budget_tokens": -1}, {})
    assert (off.effort, off.unlimited) == ("none", True)


@pytest.mark.parametrize(
    ("name", "level", "thinking"),
    [
        ("deepseek", "high", {"clear": True, "type": "enabled"}),
        ("deepseek", "none", {"clear": True, "type": "disabled"}),
        ("anthropic", "high", {"clear": True, "type": "adaptive"}),
        ("anthropic", "none", {"type": "disabled"}),
        ("vllm", "high", {"clear": True}),
    ],
)
def test_fields_beside_the_type_of_thinking_are_forwarded(
    name: Any, level: Any, thinking: dict[str, Any]
) -> None:
    request = chat.parse({"messages": HI, "thinking": {"type": "auto", "clear": True}}, {})
    assert chat.write(request, level, None, "m", DIALECTS[name])["thinking"] == thinking


@pytest.mark.parametrize(
    ("variables", "level", "written"),
    [
        ({"thinking": True}, "high", {"thinking": True}),
        ({"thinking": True}, "none", {"thinking": False}),
        ({"thinking": False, "mine": 1}, "none", {"mine": 1, "thinking": False}),
        ({"thinking_mode": "adaptive"}, "low", {"thinking_mode": "adaptive"}),
        ({"thinking_mode": "adaptive"}, "none", {"thinking_mode": "disabled"}),
        ({"thinking_mode": "enabled"}, "none", {"thinking_mode": "disabled"}),
        ({"thinking_mode": "Disabled"}, "none", {"thinking_mode": "Disabled"}),
        ({"thinking_mode": "disabled"}, "low", {"thinking_mode": "enabled"}),
        ({"thinking_mode": "thinking"}, "none", {"thinking_mode": "chat"}),
        ({"thinking_mode": "chat"}, "high", {"thinking_mode": "thinking"}),
        ({"thinking_mode": "deep"}, "high", {"thinking_mode": "deep"}),
        ({"thinking_mode": "deep"}, "none", None),
        ({"thinking_option": "on"}, "none", {"thinking_option": "off"}),
        ({"thinking_option": "off"}, "low", {"thinking_option": "on"}),
        ({"force_reasoning": True}, "low", {"force_reasoning": True}),
        ({"force_reasoning": True}, "none", {"force_reasoning": False}),
        ({"force_reasoning": False}, "low", {"force_reasoning": False}),
        ({"skip_reasoning": True}, "none", {"skip_reasoning": True}),
        ({"skip_reasoning": True}, "low", {"skip_reasoning": False}),
        ({"thinking_effort": "max"}, "low", {"thinking_effort": "low"}),
        ({"thinking_effort": "max"}, "none", None),
        ({"enable_thinking": True, "reasoning_effort": "max"}, "low", None),
    ],
)
def test_variables_that_only_the_template_knows_have_the_decision(
    variables: dict[str, Any], level: Any, written: dict[str, Any] | None
) -> None:
    for api in (chat, responses, messages):
        plain: dict[str, Any] = {"input": "hi"} if api is responses else {"messages": HI}
        request = api.parse({**plain, "chat_template_kwargs": variables}, {})
        sent = api.write(request, level, None, "m", DIALECTS["vllm"])
        switched = dict(sent.get("chat_template_kwargs", {}))
        if api is not chat:  # the dialect's own there
            assert switched.pop("enable_thinking", True) == (level != "none")
        assert (switched or None) == written
        hosted = api.write(request, level, None, "m", DIALECTS["openai"])
        assert hosted.get("chat_template_kwargs", {}).keys() <= {"mine"}
