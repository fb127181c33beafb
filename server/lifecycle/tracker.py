"""Opens requests and closes each exactly once, whatever happens; measures the load they put on.

Closing is synchronous, in one `finally`, for answered, failed, disconnected and timed-out requests
alike: an `await` there would be cancelled when the client has disconnected.
"""

import asyncio
import time
from array import array
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from router.pressure import Load
from server.errors import GatewayError, Stopping
from server.http.disconnect import ClientDisconnected
from server.lifecycle.in_flight_table import InFlightTable
from server.lifecycle.record import RequestRecord
from server.lifecycle.request_log import write_request_line
from server.lifecycle.request_metrics import RequestMetrics
from server.observe.metrics import Metrics

if TYPE_CHECKING:
    from server.lifecycle.trace import Tracing

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that closed the connection before the answer."""

_WAIT_HALF_LIFE_SECONDS = 10.0
_NEWEST_SHARE = 1 / 8
"""Weight of the newest stream in the mean wait."""

_POLL_SECONDS = 0.01


def _call(function: Callable[[], None]) -> None:
    function()


class RequestTracker:
    """Opens and closes requests.

    Args:
        metrics: counts the requests in flight and the closed ones.
        on_close: takes each closed record and returns at once; the ledger's `record`.
        in_flight: those of all workers of this gateway; None if this process serves alone.
        tracing: begins traces; None where tracing is off.
        defer: calls a function once this turn of the event loop is over; the default calls at once.
    """

    def __init__(
        self,
        metrics: Metrics,
        on_close: Callable[[RequestRecord], None] | None = None,
        in_flight: InFlightTable | None = None,
        tracing: "Tracing | None" = None,
        defer: Callable[[Callable[[], None]], None] = _call,
    ) -> None:
        self.tracing = tracing
        self._in_flight_gauge = metrics.in_flight
        self._request_metrics = RequestMetrics(metrics)
        self._on_close = on_close
        self._defer = defer
        self._closed: list[RequestRecord] = []
        self._in_flight_table = in_flight
        self._in_flight = 0
        self._wait = array("d", bytes(16)) if in_flight is None else in_flight.wait
        """The mean wait in seconds, and the time of the newest in it."""

    def load(self) -> Load:
        """Requests in flight on all workers, and the mean wait of their recent streams.

        A stream's wait is the time from its forwarding to its first byte. The mean halves every 10
        seconds without a stream.
        """
        mean, at = self._wait
        wait_seconds = mean and mean * 0.5 ** ((time.perf_counter() - at) / _WAIT_HALF_LIFE_SECONDS)
        table = self._in_flight_table
        return Load(self._in_flight if table is None else table.total(), wait_seconds)

    async def idle(self, seconds: float) -> None:
        """Wait until every request is closed, but no longer than so many seconds."""
        deadline = time.perf_counter() + seconds
        while self._in_flight and time.perf_counter() < deadline:  # noqa: ASYNC110 - at shutdown
            await asyncio.sleep(_POLL_SECONDS)

    def open(self, request_id: str) -> "OpenRequest":
        """One request, which is open within the context and closed when that is left."""
        return OpenRequest(self, request_id)

    def count(self, change: int) -> None:
        """Change the number of requests in flight."""
        self._in_flight += change
        self._in_flight_gauge.set(self._in_flight)
        if self._in_flight_table is not None:
            self._in_flight_table.set(self._in_flight)

    def close(self, record: RequestRecord) -> None:
        """Close a request that was counted."""
        record.closed_at = time.perf_counter()
        self.count(-1)
        self._update_mean_wait(record)
        if record.trace is not None:
            record.trace.close(record)
        if self._on_close is not None:
            self._on_close(record)
        self._closed.append(record)
        if len(self._closed) == 1:
            self._defer(self._tell)

    def _tell(self) -> None:
        """Count and log what was closed in this turn of the event loop, one after the other.

        So the code for it is in the processor's caches: 2 % of the CPU time of a request.
        """
        closed, self._closed = self._closed, []
        for record in closed:
            self._request_metrics.count(record)
        for record in closed:
            write_request_line(record)

    def _update_mean_wait(self, record: RequestRecord) -> None:
        if record.status != 200 or record.forwarded_at is None or record.first_byte_at is None:
            return
        if record.was_held:
            return
        wait = record.first_byte_at - record.forwarded_at
        mean = self.load().wait_seconds
        self._wait[0] = mean + _NEWEST_SHARE * (wait - mean)
        self._wait[1] = time.perf_counter()


class OpenRequest:
    """The context of one request; it has the request's record.

    Raises:
        Stopping: the block was cancelled, which only the gateway's shutdown does.
    """

    __slots__ = ("_record", "_tracker")

    def __init__(self, tracker: RequestTracker, request_id: str) -> None:
        self._tracker, self._record = tracker, RequestRecord(request_id)

    def __enter__(self) -> RequestRecord:
        self._tracker.count(1)
        return self._record

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                _note_failure(self._record, error)
        finally:
            self._tracker.close(self._record)


def _note_failure(record: RequestRecord, error: BaseException) -> None:
    """Set the status of a request that an error ended."""
    if isinstance(error, GatewayError):
        record.status = error.status
    elif isinstance(error, ClientDisconnected):
        if not record.delivered:
            record.status = CLIENT_CLOSED_REQUEST
    elif isinstance(error, asyncio.CancelledError):
        if not record.delivered:
            record.status = Stopping.status
        raise Stopping from error
    else:
        record.status = 500
