"""The ASGI application: dispatches the endpoints that carry the traffic past FastAPI's layers.

Those layers cost more CPU per request than all of its relaying, and again per chunk of a stream
(docs/benchmarks/gateway.md). FastAPI answers all other paths.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.engines.fleet import Fleet
from server.engines.supervisor import Supervisor
from server.errors import GatewayError
from server.http.body import close_unread
from server.http.browser_guard import BrowserGuard
from server.http.request_id import assign_request_id, id_headers
from server.observe.metrics import Metrics


class Gateway:
    """The gateway.

    Args:
        app: answers all paths that have no endpoint; its lifespan is the gateway's.
        endpoints: by path; each answers POST, or raises a GatewayError before its first byte.
        envelope: makes an error's body for a path.
        fleet: the engines, for callers that wait until one is up.
        metrics: of this gateway, for what runs outside of its requests.
        supervisor: keeps the engine running that this process has started, if any.
        guard: refuses requests of web pages; None accepts them.
        cors: a layer that lets web pages of other origins read the answers; None lets none.
    """

    def __init__(
        self,
        app: FastAPI,
        endpoints: Mapping[str, ASGIApp],
        envelope: Callable[[GatewayError, str], dict[str, Any]],
        fleet: Fleet,
        metrics: Metrics,
        supervisor: Supervisor | None = None,
        guard: BrowserGuard | None = None,
        cors: Callable[[ASGIApp], ASGIApp] | None = None,
    ) -> None:
        self.fleet = fleet
        self.metrics = metrics
        self.supervisor = supervisor
        self._app = app
        self._endpoints = endpoints
        self._envelope = envelope
        self._guard = guard
        self._cors = cors(self._answer) if cors else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, _until_cancelled(receive), send)
        elif self._cors is not None:
            scope.get("state", {}).pop("begin_response", None)  # the layer adds headers
            await self._cors(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None or scope["method"] != "POST":
            endpoint = self._app
        request_id = assign_request_id(scope)
        try:
            if self._guard is not None:
                self._guard.check(scope)
            await endpoint(scope, receive, send)
        except GatewayError as error:
            close_unread(scope)
            await self._error(error, scope, request_id)(scope, receive, send)
        except Exception as error:  # the client gets a 500 whatever failed
            answer = self._error(unexpected(error), scope, request_id)
            with contextlib.suppress(RuntimeError):  # the response had begun
                await answer(scope, receive, send)
            raise

    def _error(self, error: GatewayError, scope: Scope, request_id: str) -> JSONResponse:
        ids = {name.decode(): request_id for name in id_headers(scope["path"])}
        body = self._envelope(error, scope["path"])
        return JSONResponse(body, error.status, {**error.headers(), **ids})


def _until_cancelled(receive: Receive) -> Receive:
    """Events of the lifespan; its shutdown also when a second Ctrl-C ends uvicorn without one.

    The end of the event loop cancels the lifespan then, which would be a traceback in the log.
    """

    async def event() -> Message:
        try:
            return await receive()
        except asyncio.CancelledError:
            return {"type": "lifespan.shutdown"}

    return event


def unexpected(error: Exception) -> GatewayError:
    """The client's error for an exception of the gateway itself."""
    name = type(error).__name__
    return GatewayError(f"the gateway failed on this request ({name}); see its log")
