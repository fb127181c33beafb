"""A checkpoint folder, ready to generate: weights, tokenizer, template, defaults."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jinja2 import TemplateError
from tokenizers import Tokenizer

from server.chat_templates.compiling import compile_template
from server.embedded.control_tokens import ControlTokens, split
from server.embedded.decoder import Decoder


class CheckpointError(Exception):
    """The folder is not a usable checkpoint."""


class PromptError(Exception):
    """The model's chat template refuses the messages."""


@dataclass(frozen=True)
class ReasoningBlock:
    """How a reasoning block begins, and is closed when its budget runs out, in token ids.

    `start` is the opening tag, `transition` the sentence inside the block, `end` the closing tag,
    `gap` the blank lines between the tag and the answer.
    """

    start: tuple[int, ...]
    transition: tuple[int, ...]
    end: int
    gap: tuple[int, ...]

    def starts_at(self, tokens: Sequence[int], position: int) -> bool:
        """Whether the opening tag begins at a position."""
        return tuple(tokens[position : position + len(self.start)]) == self.start


class Checkpoint:
    """A loaded model; safe to share between threads.

    Args:
        folder: has `ctranslate2/`, `tokenizer.json`, `chat_template.jinja`, `config.json`,
            `generation_config.json` and `reasoning_config.json`.
        workers: generations that run at once, a thread each.

    Raises:
        CheckpointError: something is missing or broken.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        config = _read_json(folder / "config.json", max_position_embeddings=int)
        self.defaults = _read_json(folder / "generation_config.json", eos_token_id=(int, list))
        reasoning = _read_json(
            folder / "reasoning_config.json", reasoning_start_str=str, reasoning_end_str=str
        )
        try:
            template = (folder / "chat_template.jinja").read_text(encoding="utf-8-sig")
            self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            vocabulary_size: int = self.tokenizer.get_vocab_size()
            self.decoder = Decoder(folder / "ctranslate2", workers, vocabulary_size)
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{folder} is not a usable checkpoint: {error}") from error
        self.context: int = config["max_position_embeddings"]
        eos: int | list[int] = self.defaults["eos_token_id"]
        self.eos: list[int] = eos if isinstance(eos, list) else [eos]
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        self._max_token_bytes = max(len(token) for token in vocabulary)
        self.block = self._block(reasoning["reasoning_start_str"], reasoning["reasoning_end_str"])
        added: dict[int, Any] = self.tokenizer.get_added_tokens_decoder()
        tags = self.tokens([*self.block.start, self.block.end])
        self._control_tokens = ControlTokens([token.content for token in added.values()], tags)
        self._special_tokens = _special_tokens(folder / "tokenizer_config.json")
        try:
            self._template = compile_template(template)
        except TemplateError as error:
            raise CheckpointError(f"{folder / 'chat_template.jinja'}: {error}") from error

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        variables: Mapping[str, Any],
        prompt_generation: bool = True,
        continue_last: bool = False,
    ) -> str:
        """The prompt's text, with the effort's tag at its end; for `encode`.

        What the messages and variables have of control tokens is marked as plain text.

        Args:
            messages: the conversation.
            variables: of the chat template.
            prompt_generation: whether to open a new assistant message.
            continue_last: end within the last message instead, so that it is continued.

        Raises:
            PromptError: the template refuses the messages.
        """
        messages = self._control_tokens.mark_messages(messages)
        engine = {"messages": messages, "add_generation_prompt": prompt_generation}
        defaults = {"tools": None, "documents": None, **self._special_tokens}
        try:
            text = self._template.render(
                {**defaults, **self._control_tokens.mark(dict(variables)), **engine}
            )
        except TemplateError as error:
            raise PromptError(str(error)) from error
        if not continue_last:
            return text
        content = str(messages[-1]["content"])
        end = text.rfind(content) + len(content)
        if not content or end < len(content):
            raise PromptError("the template changes the last message, so it cannot be continued")
        return text[:end]

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered prompt.

        A text with more bytes than the context can hold is not tokenised: the ids are zeros, the
        minimum number that it can have.

        Raises:
            PromptError: the text has a lone surrogate, which JSON can spell but UTF-8 cannot.
        """
        pieces = split(text)
        try:
            min_tokens = sum(len(piece.encode()) for piece in pieces) // self._max_token_bytes
        except UnicodeEncodeError as error:
            raise PromptError(
                "the messages have a lone surrogate, which is not a character"
            ) from error
        if min_tokens > self.context:
            return [0] * min_tokens
        encodings: list[Any] = [
            self.tokenizer.encode(piece, add_special_tokens=False) for piece in pieces
        ]
        return [token for encoding in encodings for token in encoding.ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Token strings of token ids: the form in which CTranslate2 takes prompts."""
        return [cast("str", self.tokenizer.id_to_token(token)) for token in ids]

    def opens_block(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt, in token ids, ends inside a reasoning block."""
        for position in range(len(prompt) - 1, -1, -1):
            if prompt[position] == self.block.end:
                return False
            if prompt[position] == self.block.start[0] and self.block.starts_at(prompt, position):
                return True
        return False

    def _block(self, start: str, end: str) -> ReasoningBlock:
        start_ids, ids = self.encode(start.strip()), self.encode(end)
        gap = self.encode("\n\n")
        return ReasoningBlock(tuple(start_ids), tuple(ids[:-1]), ids[-1], tuple(gap))


def _special_tokens(file: Path) -> dict[str, str]:
    """What templates name `bos_token` and so on; none where there is no such file."""
    tokens: dict[str, str] = {}
    for name, token in (_read_json(file) if file.exists() else {}).items():
        text = cast("dict[str, Any]", token).get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(text, str):
            tokens[name] = text
    return tokens


def _read_json(file: Path, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """A JSON object with fields of these types; raises CheckpointError."""
    try:
        fields: object = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"{file} is no JSON object")
    table = cast("dict[str, Any]", fields)
    for name, kind in types.items():
        if not isinstance(table.get(name), kind):
            raise CheckpointError(f"{file} has no usable {name}")
    return table
