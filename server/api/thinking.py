"""Every field in which clients ask for an effort, a budget, no thinking or no limit: one table.

Each dialect's clients have fields of their own. All of them are read on every API, whatever the
engine, and removed: the decision is then written as the engine's dialect has it. Several may be
used at once as long as they agree. Owns no field's meaning for an engine: see
`server.engines.dialect`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from router.effort import Effort
from server.api.fields import agreed, level, shown
from server.errors import BadRequest

EFFORT_HEADER = "x-tops-effort"
BUDGET_HEADER = "x-tops-budget"
UNLIMITED = -1
"""The budget of a client that wants none, as vLLM, llama.cpp and Seed-OSS spell it."""


class Wish(NamedTuple):
    """What the value of a field asks for; None where it does not concern that.

    Attributes:
        effort: a level or `auto`.
        budget: thinking tokens, or UNLIMITED.
        thinks: whether to think at all.
    """

    effort: str | None = None
    budget: int | None = None
    thinks: bool | None = None


NO_WISH = Wish()


class Kind(NamedTuple):
    """A type of values: how they are read, and what they may be, for documentation."""

    read: Callable[[str, object], Wish]
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
    def keys(self) -> tuple[str, ...]:
        """The path from the body."""
        return tuple(self.name.split("."))


class RequestedThinking(NamedTuple):
    """What a request's fields and headers ask for together.

    Attributes:
        effort: the effort; None leaves it to the gateway.
        budget: thinking tokens; None leaves them to the gateway.
        budget_field: the field or header that named the budget.
        unlimited: whether no budget but the limits of key, server and context is wanted.
        thinks: whether the client switched thinking on without naming an effort.
    """

    effort: Effort | None = None
    budget: int | None = None
    budget_field: str = "thinking_token_budget"
    unlimited: bool = False
    thinks: bool = False


def _effort(name: str, value: object) -> Wish:
    return Wish(effort=level(name, value))


def _gemini_level(name: str, value: object) -> Wish:
    text = value.lower() if isinstance(value, str) else value
    return NO_WISH if text == "thinking_level_unspecified" else _effort(name, text)


def _budget(name: str, value: object) -> Wish:
    if type(value) is not int or value < UNLIMITED:
        raise BadRequest(
            f"{name} must be a whole number of at least 0, or -1 for no limit, not {shown(value)}",
            name,
        )
    return Wish(budget=value)


def _bounded_budget(name: str, value: object) -> Wish:
    if type(value) is not int or value < 0:
        raise BadRequest(
            f"{name} must be a whole number of at least 0, not {shown(value)}",
            name,
        )
    return Wish(budget=value)


def _gemini_budget(name: str, value: object) -> Wish:
    budget = _budget(name, value).budget
    if budget == UNLIMITED:  # "dynamic": the model decides
        return NO_WISH
    return Wish(budget=budget) if budget else Wish(thinks=False)


def _switch(name: str, value: object) -> Wish:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false, not {shown(value)}", name)
    return Wish(thinks=value)


def _display(name: str, value: object) -> Wish:
    _switch(name, value)
    return NO_WISH


def _mode(name: str, value: object) -> Wish:
    """Words that the table does not have are a newer vendor's, and leave the choice open."""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string, not {shown(value)}", name)
    return Wish(thinks={"enabled": True, "disabled": False}.get(value))


def _switch_or_effort(name: str, value: object) -> Wish:
    return Wish(thinks=value) if isinstance(value, bool) else _effort(name, value)


EFFORT = Kind(_effort, "an effort, `ultra`, `auto`, or a number from 0 to 0.99")
GEMINI_LEVEL = Kind(_gemini_level, "an effort, in letters of either case")
BUDGET = Kind(_budget, "tokens; -1 for no limit")
BOUNDED_BUDGET = Kind(_bounded_budget, "tokens")
GEMINI_BUDGET = Kind(_gemini_budget, "tokens; 0 for off, -1 leaves it to the gateway")
SWITCH = Kind(_switch, "true, false")
MODE = Kind(_mode, "`enabled`, `disabled`; `adaptive`, `auto` and other words leave it open")
SWITCH_OR_EFFORT = Kind(_switch_or_effort, "true, false, or an effort")
DISPLAY = Kind(_display, "true, false: forwarded, since it concerns what is shown")

FIELDS: tuple[Field, ...] = (
    Field("reasoning_effort", EFFORT, "OpenAI Chat, vLLM, SGLang, DeepSeek, Gemini"),
    Field("reasoning.effort", EFFORT, "OpenAI Responses, OpenRouter, SGLang"),
    Field("reasoning.reasoning_effort", EFFORT, "SGLang"),
    Field("output_config.effort", EFFORT, "Anthropic"),
    Field("thinking.effort", EFFORT, "Kimi"),
    Field("chat_template_kwargs.reasoning_effort", EFFORT, "llama.cpp, vLLM, SGLang"),
    Field("chat_template_kwargs.thinking_effort", EFFORT, "Kimi's template"),
    Field("extra_body.google.thinking_config.thinking_level", GEMINI_LEVEL, "Gemini"),
    Field("google.thinking_config.thinking_level", GEMINI_LEVEL, "Gemini"),
    Field("thinking_token_budget", BUDGET, "vLLM"),
    Field("thinking_budget_tokens", BUDGET, "llama.cpp"),
    Field("reasoning_budget_tokens", BUDGET, "llama.cpp"),
    Field("reasoning_budget", BUDGET, "NVIDIA NIM"),
    Field("max_thinking_tokens", BUDGET, "NVIDIA NIM"),
    Field("thinking_budget", BUDGET, "DashScope"),
    Field("custom_params.thinking_budget", BUDGET, "SGLang"),
    Field("chat_template_kwargs.thinking_budget", BUDGET, "Seed-OSS's template"),
    Field("chat_template_kwargs.reasoning_budget", BUDGET, "Nemotron's template"),
    Field("reasoning.max_tokens", BOUNDED_BUDGET, "OpenRouter"),
    Field("thinking.budget_tokens", BOUNDED_BUDGET, "Anthropic"),
    Field("extra_body.google.thinking_config.thinking_budget", GEMINI_BUDGET, "Gemini"),
    Field("google.thinking_config.thinking_budget", GEMINI_BUDGET, "Gemini"),
    Field("thinking.type", MODE, "Anthropic, DeepSeek, GLM, Kimi, Seed"),
    Field("enable_thinking", SWITCH, "DashScope"),
    Field("reasoning.enabled", SWITCH, "OpenRouter, SGLang"),
    Field("reasoning.enable", SWITCH, "SGLang"),
    Field("chat_template_kwargs.enable_thinking", SWITCH, "templates of Qwen, GLM, Nemotron"),
    Field("chat_template_kwargs.thinking", SWITCH, "templates of DeepSeek, Kimi, Granite"),
    Field("think", SWITCH_OR_EFFORT, "Ollama"),
    Field("reasoning.exclude", DISPLAY, "OpenRouter", forwarded=True),
    Field("extra_body.google.thinking_config.include_thoughts", DISPLAY, "Gemini", forwarded=True),
    Field("google.thinking_config.include_thoughts", DISPLAY, "Gemini", forwarded=True),
)

_Tree = dict[str, "_Tree | Literal[True]"]


def _by_root() -> dict[str, tuple[tuple[Field, tuple[str, ...]], ...]]:
    """The fields and their paths, by their top-level key."""
    groups: dict[str, tuple[tuple[Field, tuple[str, ...]], ...]] = {}
    for field in FIELDS:
        root = field.keys[0]
        groups[root] = (*groups.get(root, ()), (field, field.keys))
    return groups


def _removed() -> _Tree:
    """The paths of the fields that are removed, as a tree."""
    tree: _Tree = {}
    for field in FIELDS:
        if not field.forwarded:
            branch = tree
            for key in field.keys[:-1]:
                branch = cast("_Tree", branch.setdefault(key, {}))
            branch[field.keys[-1]] = True
    return tree


_BY_ROOT, _REMOVED = _by_root(), _removed()


def requested_thinking(body: dict[str, Any], headers: Mapping[str, str]) -> RequestedThinking:
    """What the fields of a body, and the headers, ask for.

    Raises:
        BadRequest: a wrong type or value, or two fields that contradict each other.
    """
    wishes: dict[str, Wish] = {}
    if not _BY_ROOT.keys().isdisjoint(body):
        wishes = _wishes(body)
    if EFFORT_HEADER in headers:
        wishes[f"header {EFFORT_HEADER}"] = _effort(
            f"header {EFFORT_HEADER}", headers[EFFORT_HEADER]
        )
    if BUDGET_HEADER in headers:
        wishes[f"header {BUDGET_HEADER}"] = _budget_header(headers[BUDGET_HEADER])
    if not wishes:
        return _NOTHING
    efforts: dict[str, str] = {}
    budgets: dict[str, int] = {}
    switches: dict[str, bool] = {}
    for name, (effort, budget, thinks) in wishes.items():
        if effort is not None:
            efforts[name] = effort
        if budget is not None:
            budgets[name] = budget
        if thinks is not None:
            switches[name] = thinks
    budget = agreed(budgets)
    return RequestedThinking(
        effort=_requested_effort(efforts, switches),
        budget=None if budget == UNLIMITED else budget,
        budget_field=next(iter(budgets), _NOTHING.budget_field).rpartition(" ")[2],
        unlimited=budget == UNLIMITED,
        thinks=True in switches.values(),
    )


_NOTHING = RequestedThinking()


def without_thinking(body: dict[str, Any]) -> dict[str, Any]:
    """A copy of a body without the fields of the table; objects that they leave empty go too."""
    return dict(body) if _BY_ROOT.keys().isdisjoint(body) else _pruned(body, _REMOVED)


def _pruned(body: dict[str, Any], removed: _Tree) -> dict[str, Any]:
    remaining: dict[str, Any] = {}
    for key, value in body.items():
        branch = removed.get(key)
        if branch is True:
            continue
        if branch and isinstance(value, dict) and value:
            pruned = _pruned(cast("dict[str, Any]", value), branch)
            if pruned:
                remaining[key] = pruned
        else:
            remaining[key] = value
    return remaining


def _wishes(body: dict[str, Any]) -> dict[str, Wish]:
    """By the fields of the body that are not null."""
    wishes: dict[str, Wish] = {}
    for root, fields in _BY_ROOT.items():
        if root in body:
            for field, keys in fields:
                value = _value(body, keys)
                if value is not None:
                    wishes[field.name] = field.kind.read(field.name, value)
    return wishes


def _value(body: dict[str, Any], keys: tuple[str, ...]) -> object:
    owner = body
    for depth, key in enumerate(keys[:-1], 1):
        value = owner.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            name = ".".join(keys[:depth])
            raise BadRequest(f"{name} must be an object, not {shown(value)}", name)
        owner = cast("dict[str, Any]", value)
    return owner.get(keys[-1])


def _budget_header(value: str) -> Wish:
    if value == str(UNLIMITED):
        return Wish(budget=UNLIMITED)
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadRequest(
            f"header {BUDGET_HEADER} must be a number of thinking tokens, or -1 for no limit, "
            f"not {shown(value)}",
            BUDGET_HEADER,
        )
    return Wish(budget=int(value))


def _requested_effort(efforts: dict[str, str], switches: dict[str, bool]) -> Effort | None:
    """The effort that all fields agree on; None for `auto` or nothing."""
    requested = agreed(efforts)
    effort = None if requested == "auto" else cast("Effort | None", requested)
    for name, thinks in switches.items():
        if thinks == (effort == "none") and effort is not None:
            raise BadRequest(
                f"{name} {str(thinks).lower()} and effort '{effort}' contradict each other: "
                "leave one out",
                name,
            )
    return "none" if agreed(switches) is False else effort
