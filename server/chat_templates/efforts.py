"""The efforts that a model's chat template takes, found by rendering it.

Templates switch thinking by `enable_thinking` or `thinking`, and read an effort under a name of
`_WORDS`. Some refuse words that they do not know (Qwen3.8 refuses
`high` and `none`), some print any word (gpt-oss), others treat an unknown word as their default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from router.effort import EFFORTS, Effort

Variables = dict[str, Any]
Render = Callable[[Variables], str | None]
"""The prompt with these variables; None where the template refuses them."""

_SWITCHES = ("enable_thinking", "thinking")
_WORDS = ("reasoning_effort", "thinking_effort", "reasoning_strength")
_UNHEARD = "unheard"
_STANDARD: tuple[Effort, ...] = ("low", "medium", "high")
"""The words of models whose template prints any word."""

_PREFERENCE: tuple[Effort, ...] = ("none", "low", "medium", "high", "max", "xhigh", "minimal")
"""Which of several words with the same prompt names the effort."""

_NAMES: frozenset[Effort] = frozenset(("medium", "high"))
"""What the default of a template may be called; `high` rather."""

_PROMPT = [{"role": "user", "content": "How many?"}]
_TAG = "<think>"


@dataclass(frozen=True)
class TemplateEfforts:
    """What a template takes.

    Args:
        variables: those of the template for each effort that it takes, cheapest first.
        default: the effort of a prompt without variables, or the highest where that one does not
            think or matches none.
        refused: the words that the template refuses as `reasoning_effort`.
    """

    variables: Mapping[Effort, Variables]
    default: Effort
    refused: frozenset[str]

    @property
    def efforts(self) -> tuple[Effort, ...]:
        """The efforts, cheapest first."""
        return tuple(self.variables)


def read_efforts(template: str) -> TemplateEfforts | None:
    """The efforts of a template; None where it cannot be rendered without more than a question."""
    from server.chat_templates.compiling import compile_template  # noqa: PLC0415 - jinja2

    try:
        compiled = compile_template(template)
    except Exception:  # noqa: BLE001 - a template is a foreign program
        return None

    def render(variables: Variables) -> str | None:
        try:
            return compiled.render(
                messages=_PROMPT,
                add_generation_prompt=True,
                bos_token="",
                eos_token="",
                **variables,
            )
        except Exception:  # noqa: BLE001 - as above
            return None

    plain = render({})
    if plain is None:
        return None
    switch = _switch(render)
    on: Variables = {} if switch is None else {switch: True}
    levels: dict[Effort, Variables] = {word: on | {name: word} for name, word in _words(render, on)}
    if switch is not None:
        levels["none"] = {switch: False}
    if not any(effort != "none" for effort in levels):
        thinks = switch is not None or _TAG in template or plain.rstrip().endswith(_TAG)
        levels["high" if thinks else "none"] = on
    variables: dict[Effort, Variables] = {
        effort: levels[effort] for effort in EFFORTS if effort in levels
    }
    refused = (word for word in EFFORTS if render({_WORDS[0]: word}) is None)
    return TemplateEfforts(variables, _default(render, plain, variables), frozenset(refused))


def _switch(render: Render) -> str | None:
    for name in _SWITCHES:
        on, off = render({name: True}), render({name: False})
        if on is not None and off is not None and on != off:
            return name
    return None


def _words(render: Render, on: Variables) -> list[tuple[str, Effort]]:
    """Variable and word of every level that has a prompt of its own."""
    for name in _WORDS:
        prompts = {word: render(on | {name: word}) for word in EFFORTS}
        unheard = render(on | {name: _UNHEARD})
        if len({*prompts.values(), unheard}) == 1:
            continue
        if unheard is not None and _UNHEARD in unheard:
            return [(name, word) for word in _STANDARD if prompts[word] is not None]
        groups: dict[str, list[Effort]] = {}
        for word in _PREFERENCE:
            if (prompt := prompts[word]) is not None:
                groups.setdefault(prompt, []).append(word)
        default = groups.pop(unheard, []) if unheard is not None else []
        taken: list[Effort] = [_named(words) for words in groups.values()]
        if unheard == render(on):  # an unknown word is the default, which may have a name too
            taken.extend(sorted(_NAMES & set(default), key=_PREFERENCE.index)[-1:])
        return [(name, word) for word in taken]
    return []


def _named(words: list[Effort]) -> Effort:
    """The word that names a prompt: `none` only where no level has the same."""
    return words[1] if words[0] == "none" and len(words) > 1 else words[0]


def _default(render: Render, plain: str, variables: Mapping[Effort, Variables]) -> Effort:
    thinking: list[Effort] = [effort for effort in variables if effort != "none"]
    matching: list[Effort] = [effort for effort in thinking if render(variables[effort]) == plain]
    candidates = matching or thinking
    return candidates[-1] if candidates else "none"
