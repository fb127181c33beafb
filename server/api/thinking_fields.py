"""The fields in which clients ask for an effort, a budget, no thinking or no limit: one table.

Each dialect's clients have fields of their own. `server.api.thinking` reads all of them on every
API, whatever the engine. What an engine's own fields are is in `server.engines.dialect`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from server.api.fields import level
from server.errors import BadRequest
from server.http.json_codec import shown

UNLIMITED = -1
"""The budget of a client that wants none, as vLLM, llama.cpp and Seed-OSS spell it."""


class FieldRequest(NamedTuple):
    """What the value of a field asks for; None where it does not concern that.

    Attributes:
        effort: a level or `auto`.
        budget: thinking tokens, or UNLIMITED.
        thinks: whether to think at all.
    """

    effort: str | None = None
    budget: int | None = None
    thinks: bool | None = None


NOTHING_REQUESTED = FieldRequest()


class Kind(NamedTuple):
    """A type of values: how they are read, and what they may be, for documentation."""

    read: Callable[[str, object], FieldRequest]
    values: str


@dataclass(frozen=True)
class Field:
    """A field of a request.

    Args:
        name: its path, with dots.
        kind: the type of its values.
        clients: those that send it, for documentation.
        forwarded: whether it reaches the engine, because it is about what the client is shown.
    """

    name: str
    kind: Kind
    clients: str
    forwarded: bool = False

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The paths from the body: Gemini reads each key in snake_case and in camelCase."""
        keys = self.name.split(".")
        if "thinking_config" not in keys:
            return (tuple(keys),)
        return tuple(product(*(dict.fromkeys((key, _camel_case(key))) for key in keys)))


def _camel_case(key: str) -> str:
    first, *others = key.split("_")
    return key if key == "extra_body" else first + "".join(map(str.capitalize, others))


def _effort(name: str, value: object) -> FieldRequest:
    return FieldRequest(effort=level(name, value))


def _gemini_level(name: str, value: object) -> FieldRequest:
    text = value.lower() if isinstance(value, str) else value
    return NOTHING_REQUESTED if text == "thinking_level_unspecified" else _effort(name, text)


def _budget(name: str, value: object) -> FieldRequest:
    if type(value) is not int or value < UNLIMITED:
        raise BadRequest(
            f"{name} must be a whole number of at least 0, or -1 for no limit, not {shown(value)}",
            name,
        )
    return FieldRequest(budget=value)


def _bounded_budget(name: str, value: object) -> FieldRequest:
    if type(value) is not int or value < 0:
        raise BadRequest(
            f"{name} must be a whole number of at least 0, not {shown(value)}",
            name,
        )
    return FieldRequest(budget=value)


def _gemini_budget(name: str, value: object) -> FieldRequest:
    budget = _budget(name, value).budget
    if budget == UNLIMITED:  # "dynamic": the model decides
        return NOTHING_REQUESTED
    return FieldRequest(budget=budget) if budget else FieldRequest(thinks=False)


def _switch(name: str, value: object) -> FieldRequest:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false, not {shown(value)}", name)
    return FieldRequest(thinks=value)


def _display(name: str, value: object) -> FieldRequest:
    _switch(name, value)
    return NOTHING_REQUESTED


def _mode(name: str, value: object) -> FieldRequest:
    """Words that the table does not have are a newer vendor's, and leave the choice open."""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string, not {shown(value)}", name)
    return FieldRequest(thinks={"enabled": True, "disabled": False}.get(value.lower()))


OFF_WORDS = {"enabled": "disabled", "on": "off", "thinking": "chat"}
"""What templates call thinking, and the word of the same template for none."""


def _template_mode(name: str, value: object) -> FieldRequest:
    """The words of several templates; others leave the choice open."""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string, not {shown(value)}", name)
    word = value.lower()
    return FieldRequest(
        thinks=True if word in OFF_WORDS else False if word in OFF_WORDS.values() else None
    )


def _switch_on(name: str, value: object) -> FieldRequest:
    return FieldRequest(thinks=_switch(name, value).thinks or None)


def _switch_off(name: str, value: object) -> FieldRequest:
    return FieldRequest(thinks=False if _switch(name, value).thinks else None)


def _switch_or_effort(name: str, value: object) -> FieldRequest:
    return FieldRequest(thinks=value) if isinstance(value, bool) else _effort(name, value)


EFFORT = Kind(
    _effort, "an effort, `ultra`, `auto`, `default`, `disable`, or a number from 0 to 0.99"
)
GEMINI_LEVEL = Kind(_gemini_level, "an effort, in letters of either case")
BUDGET = Kind(_budget, "tokens; -1 for no limit")
BOUNDED_BUDGET = Kind(_bounded_budget, "tokens")
GEMINI_BUDGET = Kind(_gemini_budget, "tokens; 0 for off, -1 leaves it to the gateway")
SWITCH = Kind(_switch, "true, false")
MODE = Kind(_mode, "`enabled`, `disabled`; `adaptive`, `auto` and other words leave it open")
TEMPLATE_MODE = Kind(
    _template_mode,
    "`enabled`, `on`, `thinking`; `disabled`, `off`, `chat`; other words leave it open",
)
SWITCH_ON = Kind(_switch_on, "true; false leaves it open")
SWITCH_OFF = Kind(_switch_off, "true for off; false leaves it open")
SWITCH_OR_EFFORT = Kind(_switch_or_effort, "true, false, or an effort")
DISPLAY = Kind(_display, "true, false: forwarded, since it concerns what is shown")

_GEMINI = "Gemini, in camelCase too"

FIELDS: tuple[Field, ...] = (
    Field("reasoning_effort", EFFORT, "OpenAI Chat, vLLM, SGLang, DeepSeek, Gemini"),
    Field("reasoning.effort", EFFORT, "OpenAI Responses, OpenRouter, SGLang"),
    Field("reasoning.reasoning_effort", EFFORT, "SGLang"),
    Field("output_config.effort", EFFORT, "Anthropic"),
    Field("thinking.effort", EFFORT, "Kimi"),
    Field("chat_template_kwargs.reasoning_effort", EFFORT, "llama.cpp, vLLM, SGLang"),
    Field("chat_template_kwargs.thinking_effort", EFFORT, "Kimi's template"),
    Field("extra_body.google.thinking_config.thinking_level", GEMINI_LEVEL, _GEMINI),
    Field("google.thinking_config.thinking_level", GEMINI_LEVEL, _GEMINI),
    Field("thinking_config.thinking_level", GEMINI_LEVEL, _GEMINI),
    Field("generation_config.thinking_config.thinking_level", GEMINI_LEVEL, _GEMINI),
    Field("thinking_token_budget", BUDGET, "vLLM"),
    Field("thinking_budget_tokens", BUDGET, "llama.cpp"),
    Field("reasoning_budget_tokens", BUDGET, "llama.cpp"),
    Field("reasoning_budget", BUDGET, "NVIDIA NIM"),
    Field("max_thinking_tokens", BUDGET, "NVIDIA NIM"),
    Field("thinking_budget", BUDGET, "DashScope"),
    Field("custom_params.thinking_budget", BUDGET, "SGLang"),
    Field("chat_template_kwargs.thinking_budget", BUDGET, "Seed-OSS's template"),
    Field("chat_template_kwargs.reasoning_budget", BUDGET, "Nemotron's template"),
    Field("nvext.max_thinking_tokens", BOUNDED_BUDGET, "NVIDIA Dynamo"),
    Field("reasoning.max_tokens", BOUNDED_BUDGET, "OpenRouter"),
    Field("thinking.budget_tokens", BOUNDED_BUDGET, "Anthropic"),
    Field("thinking.token_budget", BOUNDED_BUDGET, "Cohere"),
    Field("extra_body.google.thinking_config.thinking_budget", GEMINI_BUDGET, _GEMINI),
    Field("google.thinking_config.thinking_budget", GEMINI_BUDGET, _GEMINI),
    Field("thinking_config.thinking_budget", GEMINI_BUDGET, _GEMINI),
    Field("generation_config.thinking_config.thinking_budget", GEMINI_BUDGET, _GEMINI),
    Field("thinking.type", MODE, "Anthropic, DeepSeek, GLM, Kimi, Seed"),
    Field("enable_thinking", SWITCH, "DashScope"),
    Field("reasoning.enabled", SWITCH, "OpenRouter, SGLang"),
    Field("reasoning.enable", SWITCH, "SGLang"),
    Field("chat_template_kwargs.enable_thinking", SWITCH, "templates of Qwen, GLM, Nemotron"),
    Field("chat_template_kwargs.thinking", SWITCH, "templates of DeepSeek, Kimi, Granite"),
    Field(
        "chat_template_kwargs.thinking_mode",
        TEMPLATE_MODE,
        "templates of MiniMax, SEA-LION, DeepSeek V4",
    ),
    Field("chat_template_kwargs.thinking_option", TEMPLATE_MODE, "templates of Ling"),
    Field("chat_template_kwargs.force_reasoning", SWITCH_ON, "templates of HyperCLOVA X"),
    Field("chat_template_kwargs.skip_reasoning", SWITCH_OFF, "templates of HyperCLOVA X"),
    Field("think", SWITCH_OR_EFFORT, "Ollama"),
    Field("reasoning.exclude", DISPLAY, "OpenRouter", forwarded=True),
    Field("extra_body.google.thinking_config.include_thoughts", DISPLAY, _GEMINI, forwarded=True),
    Field("google.thinking_config.include_thoughts", DISPLAY, _GEMINI, forwarded=True),
    Field("thinking_config.include_thoughts", DISPLAY, _GEMINI, forwarded=True),
    Field("generation_config.thinking_config.include_thoughts", DISPLAY, _GEMINI, forwarded=True),
)
