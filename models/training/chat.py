"""Renders prompts and completions of the trained model, for training and for generation alike.

A prompt is what the checkpoint's own chat template renders, so that training sees the same tokens
as serving. Completions have the form of `<think>` models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from models.outcomes.client import messages
from models.training.effort_tags import tagged
from models.training.recipe import Model
from models.training.template_check import (
    CLOSE,
    OPEN,
    QUESTION,
    TURN,
    ChatError,
    check_form,
    check_prompts,
    is_closed,
    is_open,
)

IGNORED = -100
"""The label of a token without loss (PyTorch's default `ignore_index`)."""

_START = f"{OPEN}\n"

Tokenizer = Any
"""A transformers tokenizer; its classes are not typed."""


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
            ChatError: a model could not learn the efforts by the tokenizer's chat template.
        """
        chat = cls(tokenizer, model.system)
        prompts = {effort: chat.prompt(QUESTION, effort) for effort in (*model.efforts, "auto")}
        check_prompts(prompts, model.efforts)
        try:
            turn = str(tokenizer.apply_chat_template(list(TURN), tokenize=False))
        except TemplateError as error:
            raise ChatError(f"the chat template refuses an assistant's message: {error}") from error
        check_form(tokenizer.chat_template, prompts["auto"], turn)
        return chat

    def prompt(self, prompt: str, effort: str) -> str:
        """The text that serving renders for a one-turn conversation."""
        return self.render(messages(prompt, effort, self.system), effort)

    def render(self, conversation: Sequence[Mapping[str, Any]], effort: str) -> str:
        """The text that serving renders for a conversation that ends with the user's message.

        Raises:
            ChatError: the template refuses the effort or the messages.
        """
        variables: dict[str, Any] = {}
        if self.system is None and effort != "auto":
            variables["reasoning_effort"] = effort
        if effort == "none":
            variables["enable_thinking"] = False
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(conversation), tokenize=False, add_generation_prompt=True, **variables
                )
            )
        except TemplateError as error:
            remedy = (
                "set model.efforts to those that it takes"
                if self.system is None
                else 'if that is the system message, use model.placement = "generation"'
            )
            raise ChatError(
                f"the chat template refuses a prompt at {effort} ({error}): {remedy}"
            ) from error

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
        return f"{'' if opened else _START}{reasoning}\n{CLOSE}\n\n", answer

    def encode(
        self, prompt: str, effort: str, reasoning: str, response: str, wrong: list[list[int]]
    ) -> Encoded:
        """One sample, with loss on the completion except for tokens in `wrong` spans.

        Spans are [start, end) characters of the reasoning, which is left out where the prompt has
        closed the block.
        """
        text = self.prompt(prompt, effort)
        opened = is_open(text)
        if is_closed(text):
            reasoning = ""
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


def complete_ends(tokenizer: Tokenizer) -> None:
    """Pad with the end token where the tokenizer has no padding token, as Llama's has none.

    Raises:
        ChatError: it has no end token, so no answer would end.
    """
    if tokenizer.eos_token is None:
        raise ChatError(
            "the tokenizer has no eos_token: name the token that ends an answer in its "
            "tokenizer_config.json"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def add_tags(tokenizer: Tokenizer, tags: Mapping[str, str]) -> None:
    """Make the tokenizer's chat template add `tags`; without any, it stays as it is.

    Raises:
        ChatError: it cannot carry them.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise ChatError("the tokenizer has several chat templates: keep the one to train with")
    if not tags:
        return
    chat = Chat(tokenizer)
    remedy = "remove [model.tags], and set model.efforts to those that it takes"
    try:
        prompts = {chat.prompt(QUESTION, effort) for effort in (*tags, "auto") if effort != "none"}
    except ChatError as error:
        raise ChatError(f"{error}; it reads reasoning_effort itself: {remedy}") from error
    if len(prompts) > 1:
        raise ChatError(f"the chat template reads reasoning_effort itself: {remedy}")
    tokenizer.chat_template = tagged(tokenizer.chat_template, tags)
