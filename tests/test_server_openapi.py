"""The OpenAPI description against a running gateway, by generated requests (schemathesis)."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import hypothesis
import pytest
from app_server import served
from processes import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from server.app import create_app
from server.config.load_router import load_router
from server.config.load_settings import load_settings
from server.openapi.document import OPERATIONS, openapi_document

USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 5,
    "total_tokens": 8,
    "completion_tokens_details": {"reasoning_tokens": 2},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "4"},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    },
    "/v1/responses": {"id": "resp_1", "object": "response", "output": [], "usage": None},
    "/v1/messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "4"}],
    },
    "/v1/completions": {"id": "cmpl-1", "object": "text_completion", "choices": []},
    "/v1/embeddings": {"object": "list", "data": []},
    "/v1/messages/count_tokens": {"input_tokens": 3},
}


async def answer(request: Request) -> Response:
    if (await request.json()).get("stream"):
        return StreamingResponse(iter([b"data: [DONE]\n\n"]), media_type="text/event-stream")
    return JSONResponse(ANSWERS[request.url.path])


async def models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "stub", "max_model_len": 4096}]})


@contextmanager
def engine() -> Generator[str]:
    """The URL of an engine that answers every API at once."""
    routes = [Route(path, answer, methods=["POST"]) for path in ANSWERS]
    app = Starlette(routes=[*routes, Route("/v1/models", models)])
    with served(app) as url:
        yield url


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The base URL of a gateway before that engine."""
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with engine() as url, serving("--upstream", url, "--ledger", f"sqlite:///{ledger}") as server:
        yield server.url


@pytest.fixture(scope="module")
def api() -> Any:
    """The description as schemathesis reads it; the import takes a second."""
    import schemathesis

    return schemathesis.openapi.from_dict(openapi_document())


@pytest.fixture(scope="module")
def checks() -> Any:
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    return CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
        ]
    )


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_generated_requests_are_answered_as_described(
    method: str, path: str, url: str, api: Any, checks: Any
) -> None:
    from schemathesis.generation import GenerationMode

    modes = [GenerationMode.POSITIVE]
    if method == "post":  # only bodies can be wrong
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:

        @hypothesis.settings(
            max_examples=20,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=api[path][method].as_strategy(generation_mode=mode))
        def conforms(case: Any) -> None:
            case.call_and_validate(base_url=url, checks=checks)

        conforms()


def test_the_served_document_is_the_one_described(url: str) -> None:
    assert httpx.get(f"{url}/openapi.json").json() == openapi_document()


def test_every_route_is_described() -> None:
    """Those of pages are for browsers, and HEAD goes with GET."""
    settings = load_settings({"ledger": ""})
    answered = {
        (method.lower(), route.path_format)
        for entry in create_app(settings, load_router(settings))._app.routes
        for route in getattr(getattr(entry, "original_router", None), "routes", [entry])
        if isinstance(route, Route) and route.include_in_schema
        for method in route.methods or ()
    }
    assert answered - {("head", path) for _, path in answered} == set(OPERATIONS)


def test_every_operation_has_a_summary_and_an_answer() -> None:
    document = openapi_document()
    assert {(method, path) for path, item in document["paths"].items() for method in item} == set(
        OPERATIONS
    )
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            assert operation["responses"]["200"]["content"], path
