"""An engine that answers with random streams, and reports the usage that it sent by request."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fuzz_streams import StreamScript, stream_script
from raw_server import raw_server

_MODELS = {"object": "list", "data": [{"id": "m", "max_model_len": 100_000}]}


class FuzzEngine:
    """A user message `seed N` names the script of its stream.

    Attributes:
        url: its base URL.
        sent: thinking and answer tokens by `x-request-id`, of all answers that are not streams.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sent: dict[str, list[int]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._answer(reader, writer):
            pass

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can serve another one."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        if first.startswith("GET"):
            _write_whole(writer, _MODELS)
            return True
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        text = _last_text(body)
        if text.startswith("seed ") and body.get("stream"):
            return await self._stream(writer, stream_script(int(text[5:])))
        tokens = self.sent.setdefault(headers.get("x-request-id", ""), [0, 0])
        tokens[0], tokens[1] = tokens[0] + 4, tokens[1] + 6
        await _write_answer(writer, first.split()[1], bool(body.get("stream")))
        return True

    async def _stream(self, writer: asyncio.StreamWriter, script: StreamScript) -> bool:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        is_chunked = len(script.segments) % 2 == 0
        framing = "transfer-encoding: chunked" if is_chunked else "connection: close"
        writer.write(f"{head}{framing}\r\n\r\n".encode())
        for segment in script.segments:
            if segment:
                writer.write(_http_chunk(segment) if is_chunked else segment)
                await writer.drain()
        if is_chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return is_chunked


@asynccontextmanager
async def fuzz_engine() -> AsyncGenerator[FuzzEngine]:
    engine = FuzzEngine()
    async with raw_server(engine.serve) as port:
        engine.url = f"http://127.0.0.1:{port}"
        yield engine


def _last_text(body: Any) -> str:
    try:
        content = body["messages"][-1]["content"]
    except (LookupError, TypeError):
        return ""
    return content if isinstance(content, str) else ""


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _write_whole(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n"
    writer.write(f"{head}\r\n".encode() + raw)


_CHAT_USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 10,
    "total_tokens": 15,
    "completion_tokens_details": {"reasoning_tokens": 4},
}
_RESPONSE_USAGE = {
    "input_tokens": 5,
    "output_tokens": 10,
    "total_tokens": 15,
    "output_tokens_details": {"reasoning_tokens": 4},
}
_MESSAGE_USAGE = {
    "input_tokens": 5,
    "output_tokens": 10,
    "output_tokens_details": {"thinking_tokens": 4},
}
_OUTPUT = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "5"}],
}
_ANSWERS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "id": "c",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "reasoning": "2 + 3", "content": "5"},
                "finish_reason": "stop",
            }
        ],
        "usage": _CHAT_USAGE,
    },
    "/v1/completions": {
        "id": "c",
        "object": "text_completion",
        "choices": [{"index": 0, "text": "5", "finish_reason": "stop"}],
        "usage": _CHAT_USAGE,
    },
    "/v1/responses": {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [_OUTPUT],
        "usage": _RESPONSE_USAGE,
    },
    "/v1/messages": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "5"}],
        "stop_reason": "end_turn",
        "usage": _MESSAGE_USAGE,
    },
    "/v1/embeddings": {"object": "list", "data": [], "usage": {"prompt_tokens": 5}},
}


async def _write_answer(writer: asyncio.StreamWriter, path: str, stream: bool) -> None:
    answer = _ANSWERS.get(path, {"count": 5, "input_tokens": 5})
    if not stream or path not in _ANSWERS or path == "/v1/embeddings":
        _write_whole(writer, answer)
        return
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode() + _http_chunk(_events(path, answer)) + b"0\r\n\r\n")
    await writer.drain()


def _events(path: str, answer: dict[str, Any]) -> bytes:
    def event(body: dict[str, Any], name: str = "") -> str:
        return (f"event: {name}\n" if name else "") + f"data: {json.dumps(body)}\n\n"

    if path == "/v1/responses":
        kind = "response.completed"
        return event({"type": kind, "sequence_number": 0, "response": answer}, kind).encode()
    if path == "/v1/messages":
        start = {**answer, "content": [], "usage": {"input_tokens": 5, "output_tokens": 0}}
        text = {"type": "text_delta", "text": "5"}
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        bodies: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {"type": "content_block_delta", "index": 0, "delta": text},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": delta, "usage": answer["usage"]},
            {"type": "message_stop"},
        ]
        return "".join(event(body, body["type"]) for body in bodies).encode()
    choice = answer["choices"][0]
    chunk = {key: value for key, value in choice.items() if key != "message"}
    chunk = {**chunk, "delta": choice.get("message")} if "message" in choice else chunk
    chunks = {**answer, "choices": [chunk], "usage": None}
    return (event(chunks) + event({**answer, "choices": []}) + "data: [DONE]\n\n").encode()
