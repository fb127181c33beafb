"""A connection to an engine: sends requests, one after the other."""

import asyncio
from typing import Protocol


class Receiver(Protocol):
    """What takes the bytes of a reply."""

    def data_received(self, data: bytes) -> None: ...

    def connection_lost(self) -> None: ...


class EngineConnection(asyncio.Protocol):
    """One connection.

    `requests`: how many it has sent; `idle_since`: seconds of `time.monotonic`.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.requests = 0
        self.idle_since = 0.0
        self._receiver: Receiver | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - of a stream
        self.transport = transport

    def send(self, request: bytes, receiver: Receiver) -> None:
        """Send a request; `receiver` takes its reply."""
        self.requests += 1
        self._receiver = receiver
        self.transport.write(request)

    def detach(self) -> None:
        """End the reply; bytes that still come belong to none."""
        self._receiver = None

    def data_received(self, data: bytes) -> None:
        if self._receiver is None:
            self.transport.abort()
        else:
            self._receiver.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        if self._receiver is not None:
            self._receiver.connection_lost()
