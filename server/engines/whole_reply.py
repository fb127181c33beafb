"""A reply that was read wholly before any of it goes on, and is replayed from memory."""

from typing import Self

from server.engines.reply import Reply, Sink, give


class WholeReply:
    """A reply that has ended; a `Reply`.

    Args:
        reply: the one that was read.
        chunks: its body as it arrived.
    """

    def __init__(self, reply: Reply, chunks: list[bytes]) -> None:
        self._reply = reply
        self._chunks = chunks
        self.status = reply.status
        self.is_stream = reply.is_stream
        self.retry_after = reply.retry_after
        self.cut = reply.cut

    @classmethod
    async def of(cls, reply: Reply) -> Self:
        """Read a reply that has begun.

        Raises:
            EngineError: it did not end well.
        """
        if not reply.is_stream:
            return cls(reply, [await reply.read()])
        chunks = [await reply.next_chunk()]

        if chunks[0]:
            await reply.stream_to(chunks.append)
        return cls(reply, chunks)

    @property
    def chunks(self) -> tuple[bytes, ...]:
        """What is not replayed yet."""
        return tuple(self._chunks)

    async def begin(self) -> None:
        """The reply has begun already."""

    async def next_chunk(self) -> bytes:
        """The next chunk; empty at the end."""
        return self._chunks.pop(0) if self._chunks else b""

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining chunks to `sink`."""
        for chunk in self._chunks:
            if chunk:
                await give(sink, chunk)
        self._chunks = []

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        return b"".join(self._chunks)

    async def aclose(self) -> None:
        """End the reply that was read."""
        await self._reply.aclose()
