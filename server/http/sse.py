"""Server-sent events, as far as engines use them: split, parsed, written."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, cast

from server.http.json_codec import JSONError, dumps, loads

BOUNDARY = re.compile(rb"\r?\n\r?\n")
DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of Chat Completions."""


async def events(next_chunk: Callable[[], Awaitable[bytes]]) -> AsyncGenerator[bytes]:
    """The complete events of a stream that arrives in chunks, the last of them empty.

    An incomplete event at the end is dropped.
    """
    buffer = b""
    while chunk := await next_chunk():
        buffer += chunk
        start = 0
        for boundary in BOUNDARY.finditer(buffer):
            yield buffer[start : boundary.end()]
            start = boundary.end()
        buffer = buffer[start:]


def payload(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event's data; None where the data is not a JSON object."""
    for data in _data(event):
        try:
            body = loads(data)
        except JSONError:
            return None
        return cast("dict[str, Any]", body) if isinstance(body, dict) else None
    return None


def is_done(event: bytes) -> bool:
    """Whether an event says that the stream is complete."""
    return event.find(b"[DONE]") >= 0 and any(data.strip() == b"[DONE]" for data in _data(event))


def _data(event: bytes) -> Iterator[bytes]:
    return (line[5:] for line in event.splitlines() if line.startswith(b"data:"))


def complete_events(chunk: bytes) -> bytes:
    """The chunk up to the end of its last complete event."""
    ends = (chunk.rfind(end) + len(end) for end in (b"\n\n", b"\r\n\r\n") if end in chunk)
    return chunk[: max(ends, default=0)]


def encode(body: dict[str, Any], event: str | None = None) -> bytes:
    """An event with a JSON object as its data, and a name where the API names its events."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + dumps(body) + b"\n\n"
