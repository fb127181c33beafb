"""A dialect for the efforts of a model: in the variables and words that its chat template takes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from router.effort import Effort, nearest
from server.chat_templates.efforts import TemplateEfforts
from server.engines.dialect import Apply, Dialect
from server.http.json_codec import as_object

_STANDARD = ("reasoning_effort", "enable_thinking")
_HOLDERS = (("reasoning", "effort"), ("output_config", "effort"))
"""Objects of the newer APIs that hold an effort, and their field."""


def for_template(dialect: Dialect, template: TemplateEfforts) -> Dialect:
    """The dialect that sends what the template takes; the same where it sends that already."""
    names = {name for variables in template.variables.values() for name in variables}
    is_plain = names <= {*_STANDARD} and not (template.refused or dialect.parses_by_template)
    if not dialect.has_templates or is_plain:
        return dialect
    switches_off = dialect.parses_by_template and "none" in template.variables

    def adapt(apply: Apply) -> Apply:
        def apply_to_template(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
            if budget == 0 and switches_off:  # rather than by a budget, which counts the prompt's
                effort, budget = "none", None
            apply(body, effort, budget)
            _set_variables(body, effort, template)

        return apply_to_template

    return dialect.adapted(adapt)


def for_words(dialect: Dialect, efforts: Iterable[Effort], known: Sequence[Effort]) -> Dialect:
    """The dialect that sends an effort which the template does not take as the nearest it takes.

    Args:
        dialect: for the template, where that was read.
        efforts: those that a budget makes, whether the template takes them or not.
        known: the efforts that the template takes.
    """
    thinking: list[Effort] = [effort for effort in known if effort != "none"]
    words: dict[Effort, Effort] = {
        effort: nearest(effort, thinking) for effort in efforts if thinking and effort not in known
    }
    if not words:
        return dialect

    def adapt(apply: Apply) -> Apply:
        def apply_word(body: dict[str, Any], effort: Effort, budget: int | None) -> None:
            apply(body, words.get(effort, effort), budget)

        return apply_word

    return replace(dialect.adapted(adapt), words=words)


def _set_variables(body: dict[str, Any], effort: Effort, template: TemplateEfforts) -> None:
    """Set the template's variables, and remove an effort that it would refuse."""
    variables = {**as_object(body.get("chat_template_kwargs"))}
    if effort in template.refused:
        variables.pop("reasoning_effort", None)
        body.pop("reasoning_effort", None)
        for name, field in _HOLDERS:
            if isinstance(body.get(name), dict):
                body[name] = {key: value for key, value in body[name].items() if key != field}
    variables |= template.variables.get(effort, {})
    if variables:
        body["chat_template_kwargs"] = variables
