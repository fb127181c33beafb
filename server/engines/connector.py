"""Opens the connections to an engine, and keeps those that wait for a request."""

import asyncio
import socket
import ssl
from collections import deque
from time import monotonic
from urllib.parse import SplitResult

import structlog
from aiohappyeyeballs import (
    start_connection,  # pyright: ignore[reportUnknownVariableType]
)

from server.engines.connection import EngineConnection
from server.errors import EngineDown
from server.http.descriptors import is_exhaustion

CONNECT_SECONDS = 5
_KEEPALIVE_SECONDS = 3
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

_NEXT_ADDRESS_SECONDS = 0.25
"""Time after which the next address of a host is tried as well (RFC 8305, section 5)."""

log = structlog.get_logger(__name__)


class Connector:
    """The connections to one engine.

    Args:
        url: of the engine; only its host and scheme matter.
    """

    def __init__(self, url: SplitResult) -> None:
        self._host = url.hostname or ""
        self._has_tls = url.scheme == "https"
        self._port = url.port or (443 if self._has_tls else 80)
        self._tls: ssl.SSLContext | None = None
        self._idle: deque[EngineConnection] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> EngineConnection | None:
        """The connection that was used last, if one is idle."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def open(self) -> EngineConnection:
        """A new connection.

        Raises:
            EngineDown: there is none.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._open()
        except OSError as error:  # TimeoutError too
            raise unreachable(error) from error

    def keep(self, connection: EngineConnection) -> None:
        """Keep a connection whose reply is complete for the next request."""
        if connection.transport.is_closing():
            return
        connection.wait()
        self._idle.append(connection)
        if self._timer is None:
            self._set_timer(_KEEPALIVE_SECONDS)

    def close(self) -> None:
        """Close the idle connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self._idle.pop().transport.close()

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._close_oldest)

    def _close_oldest(self) -> None:
        expired = monotonic() - _KEEPALIVE_SECONDS
        while self._idle and self._idle[0].idle_since <= expired:
            self._idle.popleft().transport.close()
        self._timer = None
        if self._idle:
            self._set_timer(self._idle[0].idle_since - expired)

    async def _open(self) -> EngineConnection:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        opened = await start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1
        )
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._has_tls and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        name = self._host if self._has_tls else None
        _, connection = await loop.create_connection(
            EngineConnection, sock=opened, ssl=self._tls, server_hostname=name
        )
        return connection


def unreachable(error: OSError) -> EngineDown:
    """The error of a connection that could not be opened."""
    if is_exhaustion(error):
        log.error("no file descriptor is left for a connection to the engine: raise ulimit -n")
        return EngineDown("the gateway has no file descriptor left; try again shortly")
    return EngineDown("the engine cannot be reached; try again shortly")
