"""Builds the document of `GET /openapi.json` from a table of operations.

The endpoints that carry the traffic bypass FastAPI, which therefore cannot describe them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.dashboard.data import RANGES
from server.openapi import requests, responses

_JSON, _EVENTS, _TEXT = "application/json", "text/event-stream", "text/plain"
_REFERENCE = "#/components/schemas/{model}"

_PROTECTED = (401, 403)
_BODY = (400, *_PROTECTED, 408, 413, 415)
_ENGINE = (404, 429, 500, 502, 503, 504, "4XX")
"""Errors that any request to an engine can end with; 4XX are those of the engine itself."""

_HEADERS: Mapping[str, tuple[str, str]] = {
    "x-tops-effort": ("string", "The effort, or auto; the body may name the same one."),
    "x-tops-budget": ("integer", "The budget in thinking tokens; the body may name the same one."),
    "x-tops-conversation": ("string", "The conversation that the request belongs to."),
}


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        summary: one line, shown in lists.
        answer: the body of status 200; None where it is no JSON.
        body: the request's body.
        errors: the error statuses besides 200.
        streams: whether `stream: true` makes the answer an event stream.
        decides: whether the request's headers may name effort, budget and conversation.
        protected: whether it needs an API key, where there are any.
        error: the error envelope.
        parameters: OpenAPI parameters of the query.
        others: further statuses and their bodies.
    """

    summary: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    errors: tuple[int | str, ...] = ()
    streams: bool = False
    decides: bool = False
    protected: bool = True
    error: type[BaseModel] = responses.Error
    parameters: tuple[Mapping[str, Any], ...] = ()
    others: Mapping[int, type[BaseModel]] = field(default_factory=dict[int, type[BaseModel]])


_RANGE = {
    "name": "range",
    "in": "query",
    "description": "The time up to now.",
    "schema": {"type": "string", "enum": list(RANGES), "default": "24h"},
}

_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "The model's name, which may contain slashes.",
    "schema": {"type": "string"},
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("post", "/v1/chat/completions"): Operation(
        "Chat Completions",
        responses.ChatCompletion,
        requests.ChatCompletionRequest,
        (*_BODY, *_ENGINE),
        streams=True,
        decides=True,
    ),
    ("post", "/v1/responses"): Operation(
        "Responses, for engines that have them",
        responses.Response,
        requests.ResponseRequest,
        (*_BODY, *_ENGINE),
        streams=True,
        decides=True,
    ),
    ("post", "/v1/messages"): Operation(
        "Anthropic's Messages, for engines that have them",
        responses.Message,
        requests.MessagesRequest,
        (*_BODY, *_ENGINE),
        streams=True,
        decides=True,
        error=responses.MessagesError,
    ),
    ("post", "/v1/messages/count_tokens"): Operation(
        "Token count of a Messages request, by the engine",
        responses.TokenCount,
        requests.CountTokensRequest,
        (*_BODY, *_ENGINE),
        error=responses.MessagesError,
    ),
    ("post", "/v1/completions"): Operation(
        "Completions of a text, by the engine; only budgets are limited",
        responses.Completion,
        requests.CompletionRequest,
        (*_BODY, *_ENGINE),
        streams=True,
    ),
    ("post", "/v1/embeddings"): Operation(
        "Embeddings, by the engine; nothing is decided",
        responses.Embeddings,
        requests.EmbeddingRequest,
        (*_BODY, *_ENGINE),
    ),
    ("post", "/v1/route"): Operation(
        "The decision for a Chat Completions request, and its reasons, without generating",
        responses.RouteExplanation,
        requests.ChatCompletionRequest,
        (*_BODY, 404, 429, 503),
        decides=True,
    ),
    ("post", "/v1/feedback"): Operation(
        "Whether an answer was right, or a conversation solved its task",
        responses.FeedbackNote,
        requests.FeedbackRequest,
        (*_BODY, 404, 503),
    ),
    ("get", "/v1/models"): Operation(
        "The served model", responses.ModelList, errors=(*_PROTECTED, 503)
    ),
    ("get", "/v1/models/{model}"): Operation(
        "One model by its name, also with an effort behind it",
        responses.ModelCard,
        errors=(*_PROTECTED, 404, 503),
        parameters=(_MODEL,),
    ),
    ("get", "/health"): Operation("Liveness", responses.HealthState, protected=False),
    ("get", "/ready"): Operation(
        "Readiness: 200 once an engine is up",
        responses.ReadyState,
        protected=False,
        others={503: responses.ReadyState},
    ),
    ("get", "/metrics"): Operation("Metrics in Prometheus's format", None, protected=False),
    ("get", "/dashboard/data"): Operation(
        "The data that the dashboard shows",
        responses.DashboardState,
        errors=(400, *_PROTECTED, 503),
        parameters=(_RANGE,),
    ),
    ("get", "/try/data"): Operation(
        "What the page to try offers: efforts, and the largest budget",
        responses.TryState,
        errors=_PROTECTED,
    ),
}


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of every operation."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method] = _describe(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TOPS gateway",
            "version": version("tops-server"),
            "description": "An OpenAI-compatible gateway that decides reasoning effort per "
            "request. Errors are OpenAI's envelope, under /v1/messages Anthropic's.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _schemas() -> dict[str, Any]:
    models = [
        model
        for operation in OPERATIONS.values()
        for model in (operation.answer, operation.body, operation.error, *operation.others.values())
        if model is not None
    ]
    models = dict.fromkeys([*models, responses.StreamEvent])
    inputs = [(model, "validation") for model in models]
    _, document = models_json_schema(inputs, ref_template=_REFERENCE)  # pyright: ignore[reportArgumentType]
    return document["$defs"]


def _describe(method: str, path: str, operation: Operation) -> dict[str, Any]:
    parameters = [*operation.parameters, *(_header_parameters() if operation.decides else ())]
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{method}{path.replace('/', '_')}",
        "responses": _responses(operation),
        "security": [{}, {"bearer": []}, {"x-api-key": []}] if operation.protected else [],
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _header_parameters() -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": text, "schema": {"type": kind}}
        for name, (kind, text) in _HEADERS.items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        content: dict[str, Any] = {_TEXT: {"schema": {"type": "string"}}}
    else:
        content = _content(operation.answer)
    if operation.streams:
        content[_EVENTS] = _content(responses.StreamEvent)[_JSON]
    described = {"200": {"description": "OK", "content": content}}
    for status in operation.errors:
        reason = "An error of the engine, passed on" if isinstance(status, str) else _reason(status)
        described[str(status)] = {"description": reason, "content": _content(operation.error)}
    for status, model in operation.others.items():
        described[str(status)] = {"description": _reason(status), "content": _content(model)}
    return described


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {_JSON: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
