"""Keeps texts of clients from becoming control tokens, which belong to the chat template.

A mark within a control token's text makes the tokenizer read it as plain text. `split` takes the
marks out again, after the template has been rendered. A message of the assistant may have the tags
of a reasoning block, because clients send back what the model has written.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

_MARK = "\ufdd0"
"""A noncharacter of Unicode: no text has it for a meaning of its own."""


class ControlTokens:
    """The control tokens of a model.

    Args:
        texts: of the tokens that the tokenizer cuts out of any text.
        reasoning_tags: those of them that begin or end a reasoning block.
    """

    def __init__(self, texts: Sequence[str], reasoning_tags: Sequence[str]) -> None:
        texts = [text for text in texts if len(text) > 1 and not text.isspace()]
        self._all = _starts(texts)
        self._of_template = _starts([text for text in texts if text not in reasoning_tags])

    def mark_messages(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Copies of messages whose texts cannot become control tokens."""
        return [
            self._mark(
                message, self._of_template if message.get("role") == "assistant" else self._all
            )
            for message in messages
        ]

    def mark(self, value: Any) -> Any:
        """A copy of a JSON value whose texts cannot become control tokens."""
        return self._mark(value, self._all)

    def _mark(self, value: Any, starts: re.Pattern[str]) -> Any:
        if isinstance(value, str):
            return starts.sub(lambda start: start[0] + _MARK, value.replace(_MARK, ""))
        if isinstance(value, list):
            return [self._mark(item, starts) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            return {key: self._mark(item, starts) for key, item in items}
        return value


def split(text: str) -> list[str]:
    """The pieces of a rendered prompt, to be tokenised one by one."""
    return text.split(_MARK)


def _starts(texts: Sequence[str]) -> re.Pattern[str]:
    """Matches the character with which any of the texts begins, where they overlap too."""
    longest_first = sorted(map(re.escape, texts), key=len, reverse=True)
    return re.compile(f"(?=(?:{'|'.join(longest_first)})).", re.DOTALL) if texts else _NOTHING


_NOTHING = re.compile(r"(?!)")
