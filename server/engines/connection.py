"""A connection to an engine, which serves one request after the other."""

import asyncio
from time import monotonic


class EngineConnection:
    """A connection.

    Attributes:
        transport: of the bytes; its protocol is the reply that is read.
        requests: how many were sent.
        idle_since: seconds of `time.monotonic`.
    """

    __slots__ = ("_idle", "idle_since", "requests", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.requests = 0
        self.idle_since = 0.0
        self._idle = _Idle(transport)

    def send(self, request: bytes, reply: asyncio.Protocol) -> None:
        """Send a request, whose reply has the bytes that follow."""
        self.requests += 1
        self.transport.set_protocol(reply)
        self.transport.write(request)

    def wait(self) -> None:
        """Wait for the next request; bytes that come before it end the connection."""
        self.idle_since = monotonic()
        self.transport.set_protocol(self._idle)


class _Idle(asyncio.Protocol):
    """The protocol of a connection without a request."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - asyncio's
        self._transport.abort()
