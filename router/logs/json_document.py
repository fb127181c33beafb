"""A large JSON object, read member by member without ever holding all of it."""

import json
from collections.abc import Collection, Iterator
from typing import TextIO

from router.json_text import constant

_CHUNK = 1 << 16
_DECODER = json.JSONDecoder(parse_constant=constant)


def members(stream: TextIO, streamed: Collection[str] = ()) -> Iterator[tuple[str, object]]:
    """(name, value) of each member of an object; of arrays in `streamed`, (name, element) each.

    Raises ValueError: no JSON object, or one that ends too early.
    """
    for name, text in _members(_Text(stream)):
        if name in streamed and text.peek() == "[":
            text.skip("[")
            while text.peek() != "]":
                yield name, text.value()
                if text.peek() != "]":
                    text.skip(",")
            text.skip("]")
        else:
            yield name, text.value()


def first_names(stream: TextIO) -> list[str]:
    """The names of an object's first members, as far as the stream has them; else []."""
    names: list[str] = []
    try:
        for name, text in _members(_Text(stream)):
            names.append(name)
            text.value()
    except (ValueError, RecursionError):
        pass
    return names


def _members(text: "_Text") -> Iterator[tuple[str, "_Text"]]:
    """The name of each member; the caller reads its value from the text."""
    text.skip("{")
    while text.peek() != "}":
        name = text.value()
        text.skip(":")
        yield str(name), text
        if text.peek() != "}":
            text.skip(",")


class _Text:
    """The unread part of a stream; it reads twice as much whenever a value does not fit."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._at, self._ended = "", 0, False

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._read()

    def skip(self, expected: str) -> None:
        """Go past a character. Raises ValueError where there is another."""
        if self.peek() != expected:
            raise ValueError(f"{expected} is missing")
        self._at += 1

    def value(self) -> object:
        """The next JSON value. Raises ValueError."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if self._ended:
                    raise
            else:
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            self._read()

    def _read(self) -> None:
        unread = self._text[self._at :]
        chunk = self._stream.read(max(_CHUNK, len(unread)))
        self._text, self._at, self._ended = unread + chunk, 0, not chunk
