"""Two turns over real sockets, in each API, streamed or not: the second belongs to the first."""

import json
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from app_server import served
from polling import until
from processes import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
QUESTION = "Prove that there is no largest prime, and explain each step of the proof."
RESULT = "Kim has 12 pens. Kim buys 30 more pens. How many pens does Kim have now?"


def events(*bodies: dict[str, Any]) -> bytes:
    return b"".join(
        f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode() for body in bodies
    )


def chat_stream(text: str) -> bytes:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
        for part in text
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": USAGE})
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + (
        b"data: [DONE]\n\n"
    )


def messages_stream(text: str) -> bytes:
    deltas = ({"type": "text_delta", "text": part} for part in text)
    return events(
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 5}}},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "message_delta", "delta": {"stop_reason": "end"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    )


def response(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    output = [{"type": "message", "role": "assistant", "content": content}]
    usage = {"input_tokens": 5, "output_tokens": 3}
    return {"id": f"resp_{text[-1]}", "object": "response", "output": output, "usage": usage}


def responses_stream(text: str) -> bytes:
    return events(
        {"type": "response.created", "response": {"id": f"resp_{text[-1]}"}},
        *({"type": "response.output_text.delta", "delta": part} for part in text),
        {"type": "response.completed", "response": response(text)},
    )


STREAMS = {
    "/chat/completions": chat_stream,
    "/messages": messages_stream,
    "/responses": responses_stream,
}


async def answer(request: Request) -> Response:
    body, path = await request.json(), request.url.path.removeprefix("/v1")
    text = "Step " + json.dumps(body).partition("number ")[2][:1]
    if body.get("stream"):
        return StreamingResponse(iter([STREAMS[path](text)]), media_type="text/event-stream")
    if path == "/messages":
        content, usage = [{"type": "text", "text": text}], {"input_tokens": 5, "output_tokens": 3}
        return JSONResponse({"id": "msg_1", "type": "message", "content": content, "usage": usage})
    if path == "/responses":
        return JSONResponse(response(text))
    message = {"role": "assistant", "content": text}
    return JSONResponse({"choices": [{"index": 0, "message": message}], "usage": USAGE})


async def models(_: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "stub"}]})


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "ledger.db"


@pytest.fixture(scope="module")
def url(ledger: Path) -> Generator[str]:
    """The base URL of a gateway before an engine that speaks every API."""
    routes = [Route(f"/v1{path}", answer, methods=["POST"]) for path in STREAMS]
    app = Starlette(routes=[*routes, Route("/v1/models", models)])
    with served(app) as engine:
        flags = ("--upstream", engine, "--ledger", f"sqlite:///{ledger}")
        with serving(*flags, "--holdout-share", "0.5") as gateway:
            yield gateway.url


def rows(ledger: Path) -> list[str]:
    """The conversation of each request, which savings are clustered by."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        return [row[0] for row in connection.execute("SELECT conversation FROM requests")]


def bodies(path: str, number: int) -> Iterator[dict[str, Any]]:
    """The first turn, and ways to continue it with a tool's result."""
    question = {"role": "user", "content": f"{QUESTION} number {number}"}
    text = f"Step {number}"
    if path == "/responses":
        item = {"role": "assistant", "content": [{"type": "output_text", "text": text}]}
        result = {"type": "function_call_output", "call_id": "c", "output": RESULT}
        yield {"input": [question]}
        yield {"input": [question, item, result]}
        yield {"input": [result], "previous_response_id": f"resp_{number}"}
        return
    limit = {"max_tokens": 2000} if path == "/messages" else {}
    parts = [{"type": "text", "text": text}]
    tool: dict[str, Any] = {"role": "tool", "content": RESULT}
    if path == "/messages":
        tool = {"role": "user", "content": [{"type": "tool_result", "content": RESULT}]}
    yield {"messages": [question], **limit}
    for content in (text, parts):
        history = [question, {"role": "assistant", "content": content}, tool]
        yield {"messages": history, **limit}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", STREAMS)
def test_the_next_turn_has_the_arm_and_the_effort_of_the_first(
    url: str, ledger: Path, path: str, stream: bool
) -> None:
    before = rows(ledger)
    with httpx.Client(timeout=60) as http:
        for number in range(10):
            first, *later = bodies(path, number)
            headers = http.post(f"{url}/v1{path}", json={**first, "stream": stream}).headers
            arm, effort = headers["x-tops-arm"], headers["x-tops-effort"]
            for body in later:
                headers = http.post(f"{url}/v1{path}", json=body).headers
                assert (headers["x-tops-arm"], headers["x-tops-effort"]) == (arm, effort)
                assert headers["x-tops-source"] == ("pinned" if arm == "treated" else "holdout")
    until(lambda: len(rows(ledger)) == len(before) + 30)
    assert sorted(Counter(rows(ledger)[len(before) :]).values()) == 10 * [3]
