"""Answers of FastAPI's layers to errors: the envelope of the API that the path belongs to."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from server.api import messages
from server.errors import GatewayError, error_envelope
from server.gateway import unexpected
from server.http.disconnect import ClientDisconnected
from server.lifecycle.tracker import CLIENT_CLOSED_REQUEST


def add_error_handlers(app: FastAPI) -> None:
    """Register a handler for each kind of error."""
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnected, _client_disconnected)
    app.add_exception_handler(Exception, _unexpected)


def envelope(error: GatewayError, path: str) -> dict[str, Any]:
    """An error in the envelope of the API that the path belongs to."""
    return messages.envelope(error) if _is_anthropic(path) else error.envelope()


def _is_anthropic(path: str) -> bool:
    return path == f"/v1{messages.PATH}" or path.startswith(f"/v1{messages.PATH}/")


def _gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    body = envelope(error, request.url.path)
    return JSONResponse(body, status_code=error.status, headers=error.headers())


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {
        404: f"there is no {request.url.path} here",
        405: f"{request.url.path} does not answer {request.method}",
    }.get(error.status_code, str(error.detail))
    body = error_envelope(message, "invalid_request_error")
    if _is_anthropic(request.url.path):
        body["error"]["type"] = messages.error_type(error.status_code)
        body = {"type": "error", **body}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


def _client_disconnected(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)  # for middleware; the client is gone


def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse(envelope(unexpected(error), request.url.path), status_code=500)
