"""An engine's reply: the interface of replies over HTTP and of those generated in two phases."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from server.http.json_codec import JSONError, loads_lenient

Pending = Coroutine[Any, Any, None]

Sink = Callable[[bytes], Pending | None]
"""Takes a chunk of bytes, where it arrives. What it returns, if anything, has to be awaited before
the next chunk: waking a task for every chunk would be a tenth of the CPU time of a chunk or more
(docs/benchmarks/gateway.md)."""

ENDING_SECONDS = 2.0
"""Time for usage, [DONE] and the end of a stream, once the model has finished."""


async def give(sink: Sink, chunk: bytes) -> None:
    """Give a sink a chunk, and wait until it takes another."""
    if (pending := sink(chunk)) is not None:
        await pending


class Reply(Protocol):
    """An engine's reply, from before its request is sent to its last byte.

    `status`, `is_stream` and `retry_after` are valid once `begin` has returned.
    """

    @property
    def status(self) -> int:
        """The HTTP status code."""
        ...

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        ...

    @property
    def retry_after(self) -> str | None:
        """The `Retry-After` header of an engine that refuses."""
        ...

    @property
    def cut(self) -> bool | None:
        """Whether the thinking was ended at its budget; None where only the engine knows."""
        ...

    async def begin(self) -> None:
        """Send the request; wait for a stream's first bytes, or for all of any other body."""
        ...

    async def next_chunk(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end."""
        ...

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining bytes to `sink`, in chunks as they arrive."""
        ...

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        ...

    async def aclose(self) -> None:
        """End the request at any point."""
        ...


class WrappedReply(ABC):
    """What a reply that rewrites another one takes over from it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._whole = b""

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._reply.status

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self._reply.is_stream

    @property
    def retry_after(self) -> str | None:
        """The `Retry-After` header of an engine that refuses."""
        return self._reply.retry_after

    @property
    def cut(self) -> bool | None:
        """Whether the thinking was ended at its budget; None where only the engine knows."""
        return self._reply.cut

    async def begin(self) -> None:
        """Wait for a stream's first bytes, or for all of any other body.

        Raises:
            EngineError: the engine failed.
        """
        await self._reply.begin()
        if not self._reply.is_stream:
            self._whole = await self._rewritten(await self._reply.read())

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        return self._whole

    async def aclose(self) -> None:
        """End the request at any point."""
        await self._reply.aclose()

    @abstractmethod
    async def _rewritten(self, raw: bytes) -> bytes:
        """The whole body of a reply that is not a stream, made of the engine's."""


def is_unknown_path(body: object) -> bool:
    """Whether a 404's body is about the path, not about something named in the request.

    That is FastAPI's own message, alone or in vLLM's envelope, llama.cpp's, or no readable body.
    """
    if not isinstance(body, dict) or not body:
        return True
    fields = cast("dict[str, Any]", body)
    error = fields.get("error", fields)
    details = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    messages = (str(details.get(name)).casefold() for name in ("message", "detail"))
    return any(message in ("not found", "file not found") for message in messages)


def parse_json(raw: bytes) -> Any:
    """The value of a JSON body; None where it is not JSON."""
    try:
        return loads_lenient(raw)
    except JSONError:
        return None
