"""A connection to an engine, which serves one request after the other."""

import asyncio
from time import monotonic
from typing import cast


class EngineConnection(asyncio.Protocol):
    """A connection.

    Attributes:
        transport: of the bytes.
        requests: how many were sent.
        idle_since: seconds of `time.monotonic`.
    """

    __slots__ = ("_is_direct", "_reply", "idle_since", "requests", "transport")

    def __init__(self) -> None:
        self.requests = 0
        self.idle_since = 0.0
        self._reply: asyncio.Protocol | None = None
        self._is_direct = False

    def send(self, request: bytes, reply: asyncio.Protocol) -> None:
        """Send a request, whose reply has the bytes that follow."""
        self.requests += 1
        self._reply = reply
        self.transport.write(request)

    def stream(self) -> None:
        """Give the reply its bytes directly, with a function less for each chunk.

        Not for each reply: changing the protocol costs two calls of the system.
        """
        if self._reply is not None:
            self._is_direct = True
            self.transport.set_protocol(self._reply)

    def wait(self) -> None:
        """Wait for the next request; bytes that come before it end the connection."""
        self.idle_since = monotonic()
        self._reply = None
        if self._is_direct:
            self._is_direct = False
            self.transport.set_protocol(self)

    # What the transport reports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop has its own class

    def data_received(self, data: bytes) -> None:
        if self._reply is None:
            self.transport.abort()
        else:
            self._reply.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.connection_lost(exc)
