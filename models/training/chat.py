"""How a prompt is put to the model that is trained: one place for training and for generating.

The prompt's text is what the checkpoint's own chat template renders, so that training sees token
for token what serving sends. Completions are written in the form of `<think>` models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.outcomes.client import messages
from models.training.recipe import Model

IGNORED = -100
"""The label that leaves a token out of the loss (PyTorch's default `ignore_index`)."""

_OPEN, _CLOSE = "<think>", "</think>"
_START = f"{_OPEN}\n"

Tokenizer = Any
"""A transformers tokenizer; its classes are not typed."""


class ChatError(Exception):
    """A checkpoint's template or tokenizer does not fit the recipe."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of one sample; `labels` are the same, or `IGNORED` where there is no loss.

    The first `prompt` tokens are the prompt, which never carries loss.
    """

    ids: list[int]
    labels: list[int]
    prompt: int


@dataclass(frozen=True)
class Chat:
    """A tokenizer, and how an effort is told to the model."""

    tokenizer: Tokenizer
    system: Mapping[str, str] | None = None

    @classmethod
    def of(cls, model: Model, tokenizer: Tokenizer) -> "Chat":
        """The recipe's way.

        Raises:
            ChatError: the template renders two efforts alike, or ends within the reasoning block
                only for some.
        """
        chat = cls(tokenizer, model.system)
        texts = {effort: chat.prompt("?", effort) for effort in (*model.efforts, "auto")}
        if len(set(texts.values())) < len(texts):
            raise ChatError(
                "the chat template renders two of the efforts alike: give [model.tags], or a "
                "base whose template tells reasoning_effort"
            )
        return chat

    def prompt(self, prompt: str, effort: str) -> str:
        """The text that serving sends for a one-turn conversation."""
        return str(
            self.tokenizer.apply_chat_template(
                messages(prompt, effort, self.system),
                tokenize=False,
                add_generation_prompt=True,
                **({"reasoning_effort": effort} if self.system is None else {}),
                **({"enable_thinking": False} if effort == "none" else {}),
            )
        )

    def completion(self, opened: bool, reasoning: str, response: str) -> tuple[str, str]:
        """What the model is to write: the reasoning block, and the answer after it.

        Args:
            opened: whether the prompt ends within the reasoning block.
            reasoning: without its tags; empty where the model is not to think.
            response: the visible answer.
        """
        answer = f"{response}{self.tokenizer.eos_token}"
        if not reasoning and not opened:
            return "", answer
        return f"{'' if opened else _START}{reasoning}\n{_CLOSE}\n\n", answer

    def encode(
        self, prompt: str, effort: str, reasoning: str, response: str, wrong: list[list[int]]
    ) -> Encoded:
        """One sample: loss on the completion, but not on tokens of the `wrong` spans.

        Spans are [first, end) characters of the reasoning.
        """
        text = self.prompt(prompt, effort)
        opened = text.rstrip().endswith(_OPEN)
        block, answer = self.completion(opened, reasoning, response)
        start = 0 if opened else len(_START)
        thinking = self.tokenizer(block, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            IGNORED if any(a < end + start and first + start < b for first, end in wrong) else one
            for one, (a, b) in zip(thinking["input_ids"], thinking["offset_mapping"], strict=True)
        ]
        ids, answered = self.ids(text), self.ids(answer)
        return Encoded(
            ids + thinking["input_ids"] + answered,
            [IGNORED] * len(ids) + labels + answered,
            len(ids),
        )

    def ids(self, text: str) -> list[int]:
        """Token ids of a rendered text, without anything added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def tagged(template: str, tags: Mapping[str, str]) -> str:
    """A chat template that says the tag of `reasoning_effort` last, after its generation prompt.

    Without a tag for an effort, and without one asked for, it renders as before.
    """
    if not tags:
        return template
    cases = "".join(
        f"{{%- {'if' if first == 0 else 'elif'} reasoning_effort == {effort!r} %}}{{{{ {tag!r} }}}}"
        for first, (effort, tag) in enumerate(tags.items())
    )
    return (
        f"{template}{{%- if add_generation_prompt and reasoning_effort is defined %}}"
        f"{cases}{{%- endif %}}{{%- endif %}}"
    )
