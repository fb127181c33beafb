"""The embedded engine's HTTP surface, in vLLM's dialect."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from server.embedded.chat import (
    BadRequest,
    Completion,
    GenerationFailed,
    chunk,
    chunk_choice,
    first_chunk_choice,
    prepare,
    response_body,
    token_logprob,
)
from server.embedded.checkpoint import Checkpoint
from server.embedded.generation import Scheduler
from server.embedded.protocol import ChatRequest
from server.http.disconnect import CancelOnDisconnect, ClientDisconnected
from server.http.sse import DONE, encode


class Engine:
    """A loaded checkpoint, its scheduler and its metrics."""

    def __init__(self, checkpoint: Checkpoint, model: str, workers: int) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.created = int(time.time())
        self.scheduler = Scheduler(workers)
        self.registry = CollectorRegistry()
        self.running = Gauge(
            "vllm:num_requests_running", "Requests in generation.", registry=self.registry
        )
        self.generated = Counter(
            "vllm:generation_tokens", "Tokens generated.", registry=self.registry
        )


def create_app(engine: Engine) -> FastAPI:
    """The engine as an ASGI application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    checkpoint = engine.checkpoint

    @app.get("/health")
    async def health() -> Response:
        return Response()

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(engine.registry), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> Response:
        card = {
            "id": engine.model,
            "object": "model",
            "created": engine.created,
            "owned_by": "tops",
            "root": str(checkpoint.folder),
            "max_model_len": checkpoint.context,
        }
        return _json({"object": "list", "data": [card]})

    @app.post("/v1/chat/completions")
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        if body.model not in (None, engine.model):
            message = f"The model `{body.model}` does not exist."
            return _error(404, message, "NotFoundError", "model", "model_not_found")
        try:
            completion = await asyncio.to_thread(prepare, body, checkpoint, engine.model)
        except BadRequest as error:
            return _error(400, str(error), "BadRequestError", "messages")
        if body.stream:
            return StreamingResponse(_events(engine, completion), media_type="text/event-stream")
        try:
            with CancelOnDisconnect(request.scope, request.receive):
                await _drain(engine, completion)
        except ClientDisconnected:
            return Response(status_code=499)
        except GenerationFailed as error:
            return _error(500, str(error), "InternalServerError")
        return _json(response_body(completion))

    return app


async def _drain(engine: Engine, completion: Completion) -> None:
    with engine.running.track_inprogress():
        async for _ in completion.pieces(engine.scheduler, engine.generated.inc):
            pass


async def _events(engine: Engine, completion: Completion) -> AsyncGenerator[bytes]:
    request = completion.request
    started: set[int] = set()
    options = request.stream_options
    with_running_usage = options and options.include_usage and options.continuous_usage_stats
    try:
        with engine.running.track_inprogress():
            async for choice, piece in completion.pieces(engine.scheduler, engine.generated.inc):
                if choice.index not in started:
                    started.add(choice.index)
                    yield encode(chunk(completion, [first_chunk_choice(choice)]))
                delta: dict[str, Any] = {}
                if piece.reasoning:
                    delta["reasoning"] = piece.reasoning
                if piece.content:
                    delta["content"] = piece.content
                has_logprob = request.logprobs and piece.token is not None
                logprobs = [token_logprob(piece)] if has_logprob else None
                if delta or logprobs or choice.finish:
                    usage = completion.usage() if with_running_usage else None
                    chunk_choices = [chunk_choice(choice, delta, logprobs)]
                    yield encode(chunk(completion, chunk_choices, usage))
    except GenerationFailed as error:
        yield encode({"error": {"message": str(error), "type": "InternalServerError", "code": 500}})
        return
    if options and options.include_usage:
        yield encode(chunk(completion, [], completion.usage()))
    yield DONE


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _error(
    status: int, message: str, kind: str, param: str | None = None, code: str | None = None
) -> Response:
    printable = message.encode(errors="backslashreplace").decode()
    error = {"message": printable, "type": kind, "param": param, "code": code}
    return _json({"error": error}, status)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        position, reason = fault["loc"][-1], fault["ctx"]["error"]
        message = f"the body is not valid JSON: {reason}, character {position}"
        return _error(400, message, "BadRequestError")
    field = ".".join(str(part) for part in fault["loc"][1:]) or None
    reason = str(fault["msg"]).removeprefix("Value error, ")
    if field is None and fault["type"] != "value_error":
        reason = "the body must be a JSON object, sent as application/json"
    message = f"{field}: {reason}" if field else reason
    return _error(400, message, "BadRequestError", field)


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail), "BadRequestError")
