"""The text of a choice: detokenised as it is generated, split, cut at stop strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers.decoders import DecodeStream

from server.embedded.overlap import overlap
from server.embedded.reasoning_tags import BlockToken


@dataclass(frozen=True)
class Piece:
    """The text that a step adds, possibly empty; `token` and `logprob` are of the answer only."""

    reasoning: str = ""
    content: str = ""
    token: str | None = None
    logprob: float = 0.0


class Text:
    """The text of one choice so far, and its token counts.

    Stop strings apply to the content; text that may be the beginning of one is withheld. Reasoning
    text loses the line breaks at its end, content the blank lines at its start.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stream: Any = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(stop)
        self._line_breaks = ""
        self._withheld = ""
        self._has_content = False
        self.stopped = False
        self.completion_tokens = 0
        self.reasoning_tokens = 0

    def add(self, step: BlockToken) -> Piece:
        """The text that can be shown after this step."""
        self.completion_tokens += 1
        if step.block == "tag":
            self._stream = DecodeStream(skip_special_tokens=True)
            self._line_breaks = ""
            return Piece()
        piece: str = self._stream.step(self._tokenizer, step.token) or ""
        if step.block == "thinking":
            self.reasoning_tokens += 1
            return Piece(reasoning=self._inner(piece))
        return Piece("", self._content(piece), piece or None, step.logprob)

    def flush(self) -> str:
        """Withheld content, once the choice has ended without a stop string."""
        withheld, self._withheld = self._withheld, ""
        return "" if self.stopped else withheld

    def _inner(self, piece: str) -> str:
        """Withhold line breaks until other text follows them."""
        text = self._line_breaks + piece
        shown = text.rstrip("\n")
        self._line_breaks = text[len(shown) :]
        return shown

    def _content(self, piece: str) -> str:
        if not self._has_content:
            piece = piece.lstrip("\n")
            self._has_content = bool(piece)
        text = self._withheld + piece
        matches = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if matches:
            self.stopped, self._withheld = True, ""
            return text[: min(matches)]
        withheld = max((overlap(text, stop) for stop in self._stop), default=0)
        self._withheld = text[len(text) - withheld :]
        return text[: len(text) - withheld]
