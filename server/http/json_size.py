"""How many values a JSON text has, counted without reading them: each takes time and memory."""

import re
from collections.abc import Iterator

_PIECE_BYTES = 2**18
_ESCAPES = re.compile(rb"\\*.?", re.DOTALL)
"""Continues a piece to the end of an escape sequence."""


def exceeds(raw: bytes, max_values: int, max_containers: int) -> bool:
    """Whether a JSON text has more values, or more arrays and objects, than so many.

    An array or object without values counts as one value too many, and the outermost not at all.
    """
    containers = raw.count(b"[") + raw.count(b"{")  # those in texts as well: no more than that
    if containers <= max_containers and containers + raw.count(b",") <= max_values:
        return False
    values = containers = 0
    for piece in _structure(raw):
        opened = piece.count(b"[") + piece.count(b"{")
        containers += opened
        values += opened + piece.count(b",")
        if values > max_values or containers > max_containers:
            return True
    return False


def _structure(raw: bytes) -> Iterator[bytes]:
    """A JSON text without what is between its quotes, in pieces."""
    start, is_quoted = 0, 0
    while start < len(raw):
        end = start + _PIECE_BYTES
        if end < len(raw):
            escapes = _ESCAPES.match(raw, end - 1)
            end = escapes.end() if escapes else end
        piece = raw[start:end]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        yield b'"'.join(parts[is_quoted::2])
        is_quoted ^= (len(parts) - 1) % 2
        start = end
