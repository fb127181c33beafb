"""From a choice's steps to text: detokenised as it comes, split, cut at stop strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers.decoders import DecodeStream

from server.embedded.generation import Step


@dataclass(frozen=True)
class Piece:
    """What a step adds; either text may be empty. `logprob` belongs to a token of the answer."""

    reasoning: str = ""
    content: str = ""
    token: str | None = None
    logprob: float = 0.0


class Text:
    """The text of one choice so far, and its token counts.

    Stop strings apply to the content, and are held back while they may still be coming. Reasoning
    text keeps its inner whitespace and loses the line break before its end; content loses the
    blank lines before its start.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stream: Any = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(stop)
        self._breaks = ""
        self._waiting = ""
        self._begun = False
        self.stopped = False
        self.completion_tokens = 0
        self.reasoning_tokens = 0

    def add(self, step: Step) -> Piece:
        """What can be shown after one more step."""
        self.completion_tokens += 1
        if step.block == "end":
            self._stream = DecodeStream(skip_special_tokens=True)
            self._breaks = ""
            return Piece()
        piece: str = self._stream.step(self._tokenizer, step.token) or ""
        if step.block == "thinking":
            self.reasoning_tokens += 1
            return Piece(reasoning=self._inner(piece))
        return Piece("", self._content(piece), piece or None, step.logprob)

    def flush(self) -> str:
        """Content that waited for a stop string which did not come."""
        waiting, self._waiting = self._waiting, ""
        return "" if self.stopped else waiting

    def _inner(self, piece: str) -> str:
        """Hold back line breaks until something follows them."""
        text = self._breaks + piece
        shown = text.rstrip("\n")
        self._breaks = text[len(shown) :]
        return shown

    def _content(self, piece: str) -> str:
        if not self._begun:
            piece = piece.lstrip("\n")
            self._begun = bool(piece)
        text = self._waiting + piece
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._waiting = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._waiting = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
