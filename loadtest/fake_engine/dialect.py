"""The fake engine's bytes: vLLM's chat completions, streamed or not, and their HTTP framing.

This is not `server.http.sse`: a load test reaches servers over HTTP only and imports none of their
code, so that it measures any server, and a scripted stream has to break off inside its framing.
"""

import json
from typing import Any

from loadtest.fake_engine.script import Script

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def whole_response(body: dict[str, Any], status: int = 200) -> bytes:
    raw = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw


def error_body(message: str, kind: str, code: int | None = None) -> dict[str, Any]:
    error = {"message": message, "type": kind}
    return {"error": error if code is None else {**error, "code": code}}


def completion(script: Script) -> dict[str, Any]:
    """The body of a non-streaming answer."""
    message = {
        "role": "assistant",
        "reasoning": "hmm " * script.think or None,
        "content": "word " * script.chunks,
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "fake"}
    counts = {} if script.bare else {"usage": usage(script)}
    return {**head, "choices": [choice], **counts}


def end_of_stream(script: Script) -> bytes:
    """The last events of a stream: the finish reason, the usage and `[DONE]`."""
    events = _FINISH
    if not script.bare:
        events += _event({**_chunk({}), "choices": [], "usage": usage(script)})
    return http_chunk(events + b"data: [DONE]\n\n") + LAST_CHUNK


def usage(script: Script) -> dict[str, Any]:
    completion_tokens = script.think + script.chunks
    return {
        "prompt_tokens": 10,
        "completion_tokens": completion_tokens,
        "total_tokens": 10 + completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": script.think},
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": "fake"}
    return {**head, "choices": [choice]}


THINKING_FRAME = http_chunk(_event(_chunk({"reasoning": "hmm "})))
ANSWER_FRAME = http_chunk(_event(_chunk({"content": "word "})))
ERROR_FRAME = http_chunk(_event(error_body("scripted", "InternalServerError", 500)))
_FINISH = _event(_chunk({"content": ""}, "stop"))
