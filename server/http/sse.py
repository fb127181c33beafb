"""Server-sent events, as far as engines use them: split, read, written."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, cast

import orjson

BOUNDARY = re.compile(rb"\r?\n\r?\n")


async def events(block: Callable[[], Awaitable[bytes]]) -> AsyncGenerator[bytes]:
    """The whole events of a stream that comes in blocks; half an event at its end is dropped."""
    rest = b""
    while more := await block():
        rest += more
        start = 0
        for boundary in BOUNDARY.finditer(rest):
            yield rest[start : boundary.end()]
            start = boundary.end()
        rest = rest[start:]


def payload(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event's data; None where it is no object."""
    for data in _data(event):
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            return None
        return cast("dict[str, Any]", body) if isinstance(body, dict) else None
    return None


def is_done(event: bytes) -> bool:
    """Whether an event says that the stream is complete."""
    return event.find(b"[DONE]") >= 0 and any(one.strip() == b"[DONE]" for one in _data(event))


def _data(event: bytes) -> Iterator[bytes]:
    return (line[5:] for line in event.splitlines() if line.startswith(b"data:"))


def complete_events(block: bytes) -> bytes:
    """What a block has up to the end of its last event."""
    ends = (block.rfind(end) + len(end) for end in (b"\n\n", b"\r\n\r\n") if end in block)
    return block[: max(ends, default=0)]


def encode(body: dict[str, Any], event: str | None = None) -> bytes:
    """An event with a JSON object as its data, named where the API names its events."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + orjson.dumps(body) + b"\n\n"
