"""The effort of a run, from its configuration in the spellings of evaluation tools and engines.

A level is its own name; a thinking budget of 4096 tokens is `budget-4096`, with a level
`high-budget-4096`. Thinking that is switched off is `none`; switched on without a level it is
`high`, the baseline of a model that declares no efforts.
"""

import re
from collections.abc import Iterator, Mapping
from typing import cast

from router.json_text import parse_json

_LEVELS = ("reasoning_effort", "effort")
_BUDGETS = (
    "reasoning_tokens", "thinking_token_budget", "thinking_budget_tokens", "thinking_budget",
    "reasoning_budget", "budget_tokens",
)  # fmt: skip
_SWITCHES = ("enable_thinking", "thinking", "enable_reasoning")
_NESTED = (
    "extra_body", "chat_template_kwargs", "chat_template_args", "output_config", "reasoning",
    "thinking", "generate_config", "gen_kwargs", "thinking_config",
)  # fmt: skip
_ARGUMENT = re.compile(r"([\w.]+)=(\{.*?\}|[^,]*)")
_OFF, _ON = ("false", "disabled", "off", "none", "0"), ("true", "enabled", "on", "adaptive", "1")


def configured_effort(*configurations: object) -> str | None:
    """The effort of the first configuration that has one; each is a mapping or `a=b,c=d`."""
    for configuration in configurations:
        settings = dict(reversed([*_settings(configuration)]))
        level, budget = settings.get("level"), settings.get("budget")
        if budget == "0":
            return "none"
        if budget is not None:
            return f"budget-{budget}" if level is None else f"{level}-budget-{budget}"
        if level is not None:
            return level
        if "switch" in settings:
            return settings["switch"]
    return None


def arguments(configuration: object) -> Mapping[str, object]:
    """The settings of a configuration; a text is read as lm-eval's `--model_args a=b,c={...}`."""
    if isinstance(configuration, Mapping):
        return cast("Mapping[str, object]", configuration)
    if not isinstance(configuration, str):
        return {}
    return {name: _value(text) for name, text in _ARGUMENT.findall(configuration)}


def _value(text: str) -> object:
    if text.startswith("{"):
        try:
            return parse_json(text)
        except ValueError:
            return text
    return text


def _settings(configuration: object) -> Iterator[tuple[str, str]]:
    """(level, budget or switch, its value) of a configuration and all within it."""
    for name, value in arguments(configuration).items():
        if isinstance(value, Mapping) and name in _NESTED:
            inner = cast("Mapping[str, object]", value)
            if name == "reasoning" and "max_tokens" in inner:  # OpenRouter's budget
                inner = {"budget_tokens": inner["max_tokens"], **inner}
            if name == "thinking" and "type" in inner:  # Anthropic's switch
                inner = {"enable_thinking": inner["type"], **inner}
            yield from _settings(inner)
        text = str(cast("object", value)).strip().lower()
        if name in _LEVELS and isinstance(value, str) and text not in ("", "null", "auto"):
            yield "level", value.strip()
        elif name in _BUDGETS and re.fullmatch(r"\d+(\.0)?", text):
            yield "budget", text.removesuffix(".0")
        elif name in _SWITCHES and text in _OFF:
            yield "switch", "none"
        elif name in _SWITCHES and text in _ON:
            yield "switch", "high"
