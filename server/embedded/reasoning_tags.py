"""Tells of each generated token whether it is of the reasoning, of a tag, or of the answer.

A tag may be one token or several, and its last token may hold what follows: Qwen2.5's tokenizer
cuts a closing tag and a blank line into `</`, `think`, and a token of `>` with both line breaks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from server.embedded.overlap import overlap

Block = Literal["thinking", "tag", "answer"]


@dataclass(frozen=True)
class BlockToken:
    """A token with its log probability and its block."""

    token: int
    logprob: float
    block: Block


class TagReader:
    """Reads the tokens of one completion; those that may begin a tag are held until it is decided.

    Args:
        start: the text of the opening tag.
        end: that of the closing tag.
        in_reasoning: whether the prompt ends inside a reasoning block.
        text_of: the text of a token by itself.
        is_special: whether each tag is a token of its own, which no answer spells. Otherwise tags
            are found by their text, and a block opens only before the answer.
    """

    def __init__(
        self,
        start: str,
        end: str,
        in_reasoning: bool,
        text_of: Callable[[int], str],
        is_special: bool,
    ) -> None:
        self._start, self._end = start, end
        self._text_of = text_of
        self._is_special = is_special
        self._held: list[tuple[int, float, str]] = []
        self._has_answer = False
        self.in_reasoning = in_reasoning
        self.thinking_tokens = 0
        """Those released, and those held within a block: a budget covers both."""

    def read(self, token: int, logprob: float) -> list[BlockToken]:
        """The tokens that are decided now, in order."""
        text = self._text_of(token)
        self._held.append((token, logprob, text))
        self.thinking_tokens += self.in_reasoning
        tag = self._end if self.in_reasoning else self._start
        is_over = self._is_special or (self._has_answer and not self.in_reasoning)
        if is_over and not (self._is_special and text == tag):
            return self._release(len(self._held))
        whole = "".join(piece for _, _, piece in self._held)
        begin = whole.find(tag)
        if begin >= 0:
            before = self._pieces_before(begin)
            tokens = self._release(before)
            self.thinking_tokens -= self.in_reasoning * len(self._held)
            tokens += [BlockToken(token, chance, "tag") for token, chance, _ in self._held]
            self._held.clear()
            self.in_reasoning = not self.in_reasoning
            return tokens
        return self._release(self._pieces_before(len(whole) - overlap(whole, tag)))

    def flush(self) -> list[BlockToken]:
        """The tokens that are held, at the end of a completion or of a block."""
        return self._release(len(self._held))

    def _pieces_before(self, characters: int) -> int:
        """How many of the held tokens lie within the first `characters` of their text."""
        count = position = 0
        for _, _, piece in self._held:
            position += len(piece)
            if position > characters:
                break
            count += 1
        return count

    def _release(self, count: int) -> list[BlockToken]:
        block: Block = "thinking" if self.in_reasoning else "answer"
        released, self._held = self._held[:count], self._held[count:]
        if block == "answer" and any(piece.strip() for _, _, piece in released):
            self._has_answer = True
        return [BlockToken(token, logprob, block) for token, logprob, _ in released]
