"""How each engine spells effort and budget: one table.

One function per dialect and API writes the decision into a body that has none yet. Usage
needs no such table: the engines' field names do not collide, so one function reads them all
(`server.engines.usage.read_usage`). The source is the engines' own documentation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from router.effort import EFFORTS, Effort

Name = Literal["vllm", "sglang", "llama.cpp", "openai", "openrouter", "deepseek", "anthropic"]
Apply = Callable[[dict[str, Any], Effort, int | None], None]

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/messages"
COMPLETIONS = "/completions"
MIN_MESSAGE_BUDGET = 1024
"""Thinking tokens; Anthropic's API refuses smaller budgets."""


def _response(body: dict[str, Any], effort: Effort, budget: int | None) -> None:  # noqa: ARG001
    _merge(body, "reasoning", effort=effort)


def _message(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    """Effort and budget as Anthropic's Messages have them, which know no `minimal`."""
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    _merge(body, "output_config", effort="low" if effort == "minimal" else effort)
    if budget is not None:
        _merge(body, "thinking", type="enabled", budget_tokens=budget)


def _response_and_template(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    _response(body, effort, budget)
    _switch_template_off(body, effort)


def _message_and_template(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    _message(body, effort, budget)
    _switch_template_off(body, effort)


def _switch_template_off(body: dict[str, Any], effort: Effort) -> None:
    """Switch thinking off for a template that does not read the effort.

    On Chat, engines follow from the effort what it reads; on their newer APIs not all versions do.
    """
    if effort == "none":
        _merge(body, "chat_template_kwargs", enable_thinking=False)


@dataclass(frozen=True)
class Dialect:
    """How one kind of engine spells effort and budget.

    Args:
        apply: writes effort and budget (thinking tokens, None without one) into a chat body; at
            effort `none` a budget is for a thought that is opened nevertheless.
        effort: the field of the effort, for documentation.
        budget: the field of the budget; None where the engine has no budget.
        min_budget: the smallest budget that it accepts, in thinking tokens.
        exclusive: a request may have an effort or a budget, not both.
        resume: fields that make it continue an unfinished assistant message; None where it cannot.
        efforts: the efforts that it can express.
        hosted: a vendor runs it, and every request costs money.
        apply_to_response: `apply` for the Responses API.
        apply_to_message: `apply` for Anthropic's Messages.
        budget_paths: the APIs on which it takes a budget, where it has any.
        bounds_opened: whether a budget is counted from the last opening tag of the prompt, so that
            it holds for a thought that the prompt has opened.
        min_message_budget: `min_budget` of Anthropic's Messages.
        has_templates: whether clients may set variables of the model's chat template.
        parses_by_template: whether it tells thoughts from text only where it recognises the chat
            template as one of a thinking model.
        words: the effort that it is sent for one that the model's template does not know.
    """

    apply: Apply
    effort: str
    budget: str | None
    min_budget: int = 0
    exclusive: bool = False
    resume: dict[str, Any] | None = None
    efforts: tuple[Effort, ...] = EFFORTS
    hosted: bool = False
    apply_to_response: Apply = _response
    apply_to_message: Apply = _message
    budget_paths: tuple[str, ...] = (CHAT, MESSAGES)
    min_message_budget: int = MIN_MESSAGE_BUDGET
    bounds_opened: bool = False
    has_templates: bool = False
    parses_by_template: bool = False
    words: Mapping[Effort, Effort] = field(default_factory=dict[Effort, Effort])

    def adapted(self, adapt: Callable[[Apply], Apply]) -> "Dialect":
        """The dialect that writes what `adapt` makes of each of its three writers."""
        return replace(
            self,
            apply=adapt(self.apply),
            apply_to_response=adapt(self.apply_to_response),
            apply_to_message=adapt(self.apply_to_message),
        )


def _vllm(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    body["reasoning_effort"] = effort
    if budget is not None:
        body["thinking_token_budget"] = budget


def _sglang(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    body["reasoning_effort"] = effort
    if effort == "none":
        _merge(body, "chat_template_kwargs", enable_thinking=False)
    if budget is not None:
        _merge(body, "custom_params", thinking_budget=budget)


def _llama_cpp(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    _llama_cpp_template(body, effort, budget)
    if budget is not None:
        minimum = _MIN_OPENED_BUDGET if effort == "none" else 1
        body["thinking_budget_tokens"] = max(budget, minimum)


def _llama_cpp_template(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    """The variables of the template: the engine passes them on, on every API.

    A budget of 0 does not bind where the prompt ends in a line break within the block, so that
    thinking is switched off; a template that cannot is bound by 1, of which the break is one.
    """
    thinks = effort != "none" and budget != 0
    _merge(body, "chat_template_kwargs", reasoning_effort=effort, enable_thinking=thinks)


def _llama_cpp_response(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    """The engine takes the fields of Chat on its Responses API."""
    _response(body, effort, budget)
    _llama_cpp(body, effort, budget)


def _llama_cpp_message(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    """Of Anthropic's fields the engine reads the budget only."""
    _message(body, effort, None if budget is None else max(budget, 1))
    _llama_cpp_template(body, effort, budget)


def _openai(body: dict[str, Any], effort: Effort, budget: int | None) -> None:  # noqa: ARG001
    body["reasoning_effort"] = effort


def _openrouter(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    if budget is not None and effort != "none":
        _merge(body, "reasoning", max_tokens=budget)
    else:
        _merge(body, "reasoning", effort=effort)


def _deepseek(body: dict[str, Any], effort: Effort, budget: int | None) -> None:  # noqa: ARG001
    _merge(body, "thinking", type="disabled" if effort == "none" else "enabled")
    if effort != "none":
        body["reasoning_effort"] = effort


def _anthropic(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    _merge(body, "output_config", effort=effort)
    if budget is None:
        _merge(body, "thinking", type="adaptive")
    else:
        _merge(body, "thinking", type="enabled", budget_tokens=budget)


def _merge(body: dict[str, Any], name: str, **fields: Any) -> None:
    body[name] = {**(body.get(name) or {}), **fields}


_MIN_OPENED_BUDGET = 8
"""Thinking tokens of llama.cpp's budget at effort `none`: it counts a block that the prompt has
opened and closed, and would end one of a smaller budget within the answer."""

_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}

_NO_MINIMAL: tuple[Effort, ...] = ("none", "low", "medium", "high", "xhigh", "max")

DIALECTS: dict[Name, Dialect] = {
    "vllm": Dialect(
        _vllm,
        "`reasoning_effort`",
        "`thinking_token_budget`",
        resume=_CONTINUE,
        apply_to_response=_response_and_template,
        apply_to_message=_message_and_template,
        budget_paths=(CHAT, MESSAGES, COMPLETIONS),
        bounds_opened=True,
        has_templates=True,
    ),
    "sglang": Dialect(
        _sglang,
        "`reasoning_effort`",
        "`custom_params.thinking_budget`",
        resume=_CONTINUE,
        apply_to_response=_response_and_template,
        apply_to_message=_message_and_template,
        budget_paths=(CHAT,),  # on Messages, SGLang 0.5.23 takes one and logs that it ignores it
        has_templates=True,
    ),
    "llama.cpp": Dialect(
        _llama_cpp,
        "`chat_template_kwargs.reasoning_effort`",
        "`thinking_budget_tokens`",
        resume=_CONTINUE,
        apply_to_response=_llama_cpp_response,
        apply_to_message=_llama_cpp_message,
        budget_paths=(CHAT, RESPONSES, MESSAGES),
        min_message_budget=0,
        has_templates=True,
        parses_by_template=True,
    ),
    "openai": Dialect(_openai, "`reasoning_effort`", None, hosted=True),
    "openrouter": Dialect(
        _openrouter,
        "`reasoning.effort`",
        "`reasoning.max_tokens`",
        exclusive=True,
        hosted=True,
    ),
    "deepseek": Dialect(
        _deepseek,
        "`reasoning_effort`, `thinking.type`",
        None,
        efforts=("none", "low", "high", "max"),
        hosted=True,
    ),
    "anthropic": Dialect(
        _anthropic,
        "`output_config.effort`, `thinking.type`",
        "`thinking.budget_tokens`",
        min_budget=1024,
        efforts=_NO_MINIMAL,
        hosted=True,
    ),
}
