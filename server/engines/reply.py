"""An engine's reply: what the gateway may ask of one, however it came about."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import orjson

Sink = Callable[[bytes], Awaitable[None]]
"""Takes a block of bytes. What it waits for holds up the next ones; it has no task of its own."""


class Reply(Protocol):
    """An engine's answer on its way, from before its request is sent.

    One in two phases has the same form. `status` and `is_stream` hold once it has begun.
    """

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def is_stream(self) -> bool:
        """Whether it is an event stream."""
        ...

    @property
    def retry_after(self) -> str | None:
        """When to ask again, as an engine that refuses says it."""
        ...

    @property
    def cut(self) -> bool | None:
        """Whether the thinking was ended at its budget; None where only the engine knows."""
        ...

    async def begin(self) -> None:
        """Send the request; wait for the first bytes, or for all of an answer that is no stream."""
        ...

    async def next_chunk(self) -> bytes:
        """The bytes that have come, at least one; empty at the end."""
        ...

    async def stream_to(self, sink: Sink) -> None:
        """Give all bytes that are still to come to `sink`, in chunks as they come."""
        ...

    async def read(self) -> bytes:
        """The whole body."""
        ...

    async def aclose(self) -> None:
        """Leave it, wherever it is."""
        ...


def is_unknown_path(body: object) -> bool:
    """Whether the body of a 404 is of the path, and of nothing that was named in the request.

    It is FastAPI's own word for that, in vLLM's envelope or none, or llama.cpp's; or nothing that
    can be read.
    """
    if not isinstance(body, dict) or not body:
        return True
    found = cast("dict[str, Any]", body)
    error = found.get("error", found)
    told = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    words = (str(told.get(name)).casefold() for name in ("message", "detail"))
    return any(one in ("not found", "file not found") for one in words)


def parse_json(raw: bytes) -> Any:
    """The JSON of a whole body; None where it is none."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
