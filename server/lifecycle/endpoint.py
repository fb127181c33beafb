"""The base of all endpoints whose requests are tracked: opened, answered, closed once."""

from abc import ABC, abstractmethod

from starlette.types import Receive, Scope, Send

from server.errors import Stopping
from server.http.disconnect import ClientDisconnected
from server.http.request_id import id_headers
from server.lifecycle.record import RequestRecord
from server.lifecycle.tracker import RequestTracker


class TrackedEndpoint(ABC):
    """An ASGI application for one path, so that it streams without a layer in between."""

    def __init__(self, tracker: RequestTracker) -> None:
        self._tracker = tracker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or raise a GatewayError before the first byte."""
        record = None
        try:
            state = scope["state"]
            with self._tracker.open(state["request_id"]) as record:
                record.engine_headers = state["engine_headers"]
                record.begin_response = state.get("begin_response")
                if self._tracker.tracing is not None:
                    self._tracker.tracing.begin(record, scope["path"])
                record.id_headers = id_headers(scope["path"])
                await self._respond(record, scope, receive, send)
        except ClientDisconnected:
            return
        except Stopping:
            if record is None or not record.head_sent:  # a stream has sent its error event
                raise

    @abstractmethod
    async def _respond(
        self, record: RequestRecord, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer the request, and fill in its record on the way."""
