"""Renders prompts and completions of the trained model, for training and for generation alike.

A prompt is what the checkpoint's own chat template renders, so that training sees the same tokens
as serving. Completions have the form of `<think>` models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.outcomes.client import messages
from models.training.recipe import Model

IGNORED = -100
"""The label of a token without loss (PyTorch's default `ignore_index`)."""

_OPEN, _CLOSE = "<think>", "</think>"
_START = f"{_OPEN}\n"

Tokenizer = Any
"""A transformers tokenizer; its classes are not typed."""


class ChatError(Exception):
    """A checkpoint's chat template does not fit the recipe."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of one sample and, as long, their `labels`: the same ids, or `IGNORED`.

    The first `prompt` tokens are the prompt, which carries no loss.
    """

    ids: list[int]
    labels: list[int]
    prompt: int


@dataclass(frozen=True)
class Chat:
    """A tokenizer, and the system prompts that set the effort, unless the chat template does."""

    tokenizer: Tokenizer
    system: Mapping[str, str] | None = None

    @classmethod
    def of(cls, model: Model, tokenizer: Tokenizer) -> "Chat":
        """The chat of a recipe's model.

        Raises:
            ChatError: the template renders two efforts alike.
        """
        chat = cls(tokenizer, model.system)
        texts = {effort: chat.prompt("?", effort) for effort in (*model.efforts, "auto")}
        if len(set(texts.values())) < len(texts):
            raise ChatError(
                "the chat template renders two of the efforts alike: give [model.tags], or a "
                "base whose template reads reasoning_effort"
            )
        return chat

    def prompt(self, prompt: str, effort: str) -> str:
        """The text that serving renders for a one-turn conversation."""
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
        """The two parts of the text to learn: the reasoning block, and the answer.

        Args:
            opened: whether the prompt ends inside the reasoning block.
            reasoning: without its tags; empty where the model learns not to think.
            response: the visible answer.
        """
        answer = f"{response}{self.tokenizer.eos_token}"
        if not reasoning and not opened:
            return "", answer
        return f"{'' if opened else _START}{reasoning}\n{_CLOSE}\n\n", answer

    def encode(
        self, prompt: str, effort: str, reasoning: str, response: str, wrong: list[list[int]]
    ) -> Encoded:
        """One sample, with loss on the completion except for tokens in `wrong` spans.

        Spans are [start, end) characters of the reasoning.
        """
        text = self.prompt(prompt, effort)
        opened = text.rstrip().endswith(_OPEN)
        block, answer = self.completion(opened, reasoning, response)
        offset = 0 if opened else len(_START)
        thinking = self.tokenizer(block, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            IGNORED if _overlaps(token_span, wrong, offset) else token
            for token, token_span in zip(
                thinking["input_ids"], thinking["offset_mapping"], strict=True
            )
        ]
        prompt_ids, answer_ids = self.ids(text), self.ids(answer)
        return Encoded(
            prompt_ids + thinking["input_ids"] + answer_ids,
            [IGNORED] * len(prompt_ids) + labels + answer_ids,
            len(prompt_ids),
        )

    def ids(self, text: str) -> list[int]:
        """Token ids of a rendered text, without added special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _overlaps(token_span: tuple[int, int], spans: list[list[int]], offset: int) -> bool:
    """Whether a token shares characters with a span, whose characters are counted from `offset`."""
    token_start, token_end = token_span
    return any(token_start < end + offset and start + offset < token_end for start, end in spans)


def tagged(template: str, tags: Mapping[str, str]) -> str:
    """A chat template that adds the tag of `reasoning_effort` after its generation prompt.

    Without `reasoning_effort`, or without a tag for it, the new template renders like the old one.
    """
    if not tags:
        return template
    cases = "".join(
        f"{{%- {'elif' if index else 'if'} reasoning_effort == {effort!r} %}}{{{{ {tag!r} }}}}"
        for index, (effort, tag) in enumerate(tags.items())
    )
    return (
        f"{template}{{%- if add_generation_prompt and reasoning_effort is defined %}}"
        f"{cases}{{%- endif %}}{{%- endif %}}"
    )
