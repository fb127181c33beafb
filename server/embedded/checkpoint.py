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
from server.embedded.reasoning_tags import TagReader


class CheckpointError(Exception):
    """The folder is not a usable checkpoint."""


class PromptError(Exception):
    """The model's chat template refuses the messages."""


@dataclass(frozen=True)
class ReasoningBlock:
    """How a reasoning block begins and ends, and is closed when its budget runs out.

    `opening` and `closing` are the tags' texts. In token ids, `transition` is the sentence inside
    the block, `end` the closing tag, `gap` the blank lines between the tag and the answer.
    """

    opening: str
    closing: str
    transition: tuple[int, ...]
    end: tuple[int, ...]
    gap: tuple[int, ...]


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
            self.tokenizer: Any = _read_tokenizer(folder / "tokenizer.json")
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
        tags = [self.block.opening, self.block.closing]
        texts = [token.content for token in added.values()]
        self._tags_are_tokens = all(tag in texts for tag in tags)
        self._control_tokens = ControlTokens([*texts, *tags], tags)
        self._texts: dict[int, str] = {}
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

    def tag_reader(self, in_reasoning: bool) -> TagReader:
        """Reads the tags of one completion."""
        block = self.block
        return TagReader(
            block.opening, block.closing, in_reasoning, self._text, self._tags_are_tokens
        )

    def opens_block(self, text: str) -> bool:
        """Whether a rendered prompt ends inside a reasoning block."""
        return text.rfind(self.block.opening) > text.rfind(self.block.closing)

    def _text(self, token: int) -> str:
        """The text of a token by itself."""
        if token not in self._texts:
            self._texts[token] = self.tokenizer.decode([token], skip_special_tokens=False)
        return self._texts[token]

    def _block(self, start: str, end: str) -> ReasoningBlock:
        """From the texts that open and close a block; the closing one ends with its tag."""
        opening, end = start.strip(), end.rstrip()
        closing = end[end.rfind(opening[:1]) :]
        if not opening or not closing.startswith(opening[0]):
            raise CheckpointError(
                f"{self.folder / 'reasoning_config.json'}: reasoning_end_str must end with the "
                f"closing tag of {opening or 'reasoning_start_str, which is empty'}"
            )
        transition, gap = self.encode(end.removesuffix(closing)), self.encode("\n\n")
        return ReasoningBlock(
            opening, closing, tuple(transition), tuple(self.encode(closing)), tuple(gap)
        )


def _read_tokenizer(file: Path) -> Any:
    """The tokenizer of a file, with a token at least; raises CheckpointError."""
    try:
        tokenizer: Any = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not tokenizer.get_vocab_size():
        raise CheckpointError(f"{file} has no usable vocabulary")
    return tokenizer


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
