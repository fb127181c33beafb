"""The clients' connections of one process: how many may be open, and which of them wait.

A connection takes a file descriptor, and a second one while an engine answers its request. The
maximum leaves enough of them, so that the process never runs out.
"""

import time
from collections import OrderedDict
from typing import Protocol

import structlog

from server.http.descriptors import affordable_connections
from server.http.idle_connections import IdleConnections

_MAX_REFUSED = 4
_LOG_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Evictable(Protocol):
    """A connection that can be closed while it waits for a request."""

    def evict(self) -> None: ...


class ConnectionPool:
    """The open connections, and those of them that wait for a client, by the time they wait.

    A connection waits until a request is complete, with its body, and again after its answer.
    Those that are `idle` have no request at all.

    Args:
        maximum: connections that may be open; None for as many as there are file descriptors for.
        is_worker: whether the process is one of several.
    """

    def __init__(self, maximum: int | None = None, is_worker: bool = False) -> None:
        self._maximum, self._is_worker = maximum, is_worker
        self.idle = IdleConnections()
        self._open = set[Evictable]()
        self._refused = set[Evictable]()
        self._waiting: OrderedDict[Evictable, None] = OrderedDict()
        self._evicted_count = self._refused_count = 0
        self._logged_at = 0.0

    @property
    def maximum(self) -> int:
        """The connections that may be open now."""
        affordable = affordable_connections(self._is_worker)
        return min(self._maximum or affordable, affordable)

    def open(self, connection: Evictable) -> bool:
        """Add a connection, which waits; False where there is no room for it.

        Room is made by closing the connection that has waited longest.
        """
        maximum = self.maximum
        while len(self._open) >= maximum:
            if not self._evict():
                self._refused_count += 1
                self._report()
                self._refused.add(connection)
                return False
        self._open.add(connection)
        self._waiting[connection] = None
        return True

    @property
    def may_refuse_politely(self) -> bool:
        """Whether a connection without room may stay until its client has read the refusal."""
        return len(self._refused) <= _MAX_REFUSED

    def close(self, connection: Evictable) -> None:
        self._open.discard(connection)
        self._refused.discard(connection)
        self._waiting.pop(connection, None)

    def wait(self, connection: Evictable) -> None:
        if connection in self._open:
            self._waiting[connection] = None

    def end_wait(self, connection: Evictable) -> None:
        self._waiting.pop(connection, None)

    def _evict(self) -> bool:
        if not self._waiting:
            return False
        connection, _ = self._waiting.popitem(last=False)
        self._open.discard(connection)
        connection.evict()
        self._evicted_count += 1
        self._report()
        return True

    def _report(self) -> None:
        """Log what was closed and refused since the last line, every few seconds at most."""
        now = time.monotonic()
        if self._logged_at and now - self._logged_at < _LOG_SECONDS:
            return
        self._logged_at = now
        log.warning(
            "too many connections: idle ones are closed, or new ones refused with 503; raise "
            "max_connections, or the limit on file descriptors (ulimit -n), which bounds it",
            maximum=self.maximum,
            closed=self._evicted_count,
            refused=self._refused_count,
        )
        self._evicted_count = self._refused_count = 0
