"""Whether a model can learn efforts by its chat template, and what to do where it cannot.

Training writes reasoning as `<think>...</think>`, before the answer and after the effort's tag.
"""

import re
from collections.abc import Mapping, Sequence

OPEN, CLOSE = "<think>", "</think>"
QUESTION, ANSWER, THOUGHT = "Which one?", "That one.", "This or that."
TURN = (
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT, "reasoning": THOUGHT},
)
"""A finished turn, with the reasoning under both of its names."""

_OTHER_FORMS = ("<|channel", "[THINK]", "<seed:think>", "<|START_THINKING|>", "◁think▷")
_BLOCK = re.compile(f"{OPEN}.*?{CLOSE}", re.DOTALL)
_EMPTY_END = re.compile(rf"{OPEN}\s*(?:{CLOSE}\s*)?\Z")


class ChatError(Exception):
    """A checkpoint's chat template does not fit the recipe; the message says what to do."""


def is_open(prompt: str) -> bool:
    """Whether a rendered prompt ends at the start of a reasoning block."""
    return prompt.rstrip().endswith(OPEN)


def is_closed(prompt: str) -> bool:
    """Whether a rendered prompt ends with a reasoning block that is over before it began."""
    return prompt.rstrip().endswith(CLOSE)


def check_form(template: str, prompt: str, turn: str) -> None:
    """Raise where models of this template think in another form than `<think>...</think>`.

    Args:
        template: its source.
        prompt: rendered for `QUESTION`, without an effort.
        turn: the rendered `TURN`.

    Raises:
        ChatError: they do.
    """
    remedy = (
        f"and training writes {OPEN}...{CLOSE}: use a base whose template has that form, or none"
    )
    other = next((form for form in _OTHER_FORMS if form in template), None)
    if other is not None:
        raise ChatError(f"models of this chat template think in {other}..., {remedy}")
    if ANSWER not in turn:
        raise ChatError("the chat template leaves out the text of an assistant's message")
    head = _EMPTY_END.sub("", prompt).rstrip()
    if not turn.startswith(head):
        return  # it renders finished turns in a way of their own
    between = _BLOCK.sub("", turn[len(head) : turn.rindex(ANSWER)]).strip()
    if between:
        raise ChatError(
            f"the chat template has {between!r} between the prompt and its answer, {remedy}"
        )


def check_prompts(prompts: Mapping[str, str], efforts: Sequence[str]) -> None:
    """Raise where a model could not learn efforts from these prompts.

    Args:
        prompts: rendered for `QUESTION`, by effort, `auto` among them.
        efforts: those of the recipe.

    Raises:
        ChatError: two are alike, an effort is inside the reasoning, or the model could not think.
    """
    for effort in (*efforts, "auto"):
        prompt = prompts[effort]
        if effort != "none" and is_closed(prompt):
            raise ChatError(
                f"the chat template closes the reasoning block at {effort}, so the model could not "
                "think: give [model.tags], or a base that thinks without enable_thinking"
            )
        inside = prompt.rpartition(OPEN)[2] if OPEN in prompt else ""
        if inside.strip() and CLOSE not in inside:
            raise ChatError(
                f"the chat template puts {inside.strip()!r} inside the reasoning at {effort}: "
                "have it put the effort before the block, or give [model.tags] to a template that "
                "does not read reasoning_effort"
            )
    first: dict[str, str] = {}
    for effort, prompt in prompts.items():
        if prompt in first:
            raise ChatError(
                f"the chat template renders {first[prompt]} and {effort} alike, two of the efforts "
                "(auto is a prompt without one): give a tag for each in [model.tags], or a base "
                "whose template reads reasoning_effort"
            )
        first[prompt] = effort
