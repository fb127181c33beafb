"""An engine that misbehaves on command, which no real engine does, and requests to it."""

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
from processes import Server
from raw_server import raw_server

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
INTERLEAVED = b"".join(
    b'data: {"id":"c","choices":[{"index":0,"delta":' + delta + b',"finish_reason":null}]}\n\n'
    for delta in (
        b'{"reasoning":"first I look"}',
        b'{"tool_calls":[{"index":0,"id":"t1","function":{"name":"look","arguments":"{}"}}]}',
        b'{"reasoning_content": "then  I think \\u00e9"}',
        b'{"content":"so"}',
        b'{"reasoning":"again"}',
        b'{"content":"done"}',
    )
)
FINISH = CHUNK.replace(b'"finish_reason":null', b'"finish_reason":"stop"')
MODELS = {"object": "list", "data": [{"id": "scripted", "max_model_len": 4096}]}


class ScriptedEngine:
    """A raw HTTP/1.1 server in a thread; the last message of a request names what it does.

    `bodies` and `heads` are those of all requests; `replies` are whole replies by the script that
    gets them: bytes, or segments of bytes and pauses in seconds; `cancelled` is set when the client
    of `endless` or `wait` has disconnected; `flooded` counts the bytes of `flood`.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.replies: dict[str, bytes | tuple[bytes | float, ...]] = {}
        self.cancelled = threading.Event()
        self.flooded = 0
        self.port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._started.wait(60)

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        async with raw_server(self._serve) as self.port:
            self._started.set()
            await self._stopped.wait()

    def stop(self) -> None:
        """End the engine; a stopped one stays so."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(60)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("GET"):
            await self._respond(writer, json.dumps(MODELS).encode())
            return
        length = next(
            int(line.split(":")[1])
            for line in head.lower().splitlines()
            if line.startswith("content-length")
        )
        body = json.loads(await reader.readexactly(length))
        self.heads.append(head)
        self.bodies.append(body)
        script = body.get("prompt") or body["messages"][-1]["content"]
        if script in self.replies:
            await self._write(writer, self.replies[script])
            return
        respond = getattr(self, f"do_{script}", self.do_complete)
        await respond(reader, writer)

    async def _write(
        self, writer: asyncio.StreamWriter, reply: bytes | tuple[bytes | float, ...]
    ) -> None:
        for part in (reply,) if isinstance(reply, bytes) else reply:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)

    async def _respond(
        self,
        writer: asyncio.StreamWriter,
        body: bytes,
        status: str = "200 OK",
        kind: str = "application/json",
        headers: str = "",
    ) -> None:
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{headers}"
        )
        writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
        await writer.drain()

    async def _begin(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + CHUNK)
        await writer.drain()

    async def do_complete(self, _: Any, writer: asyncio.StreamWriter) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 5}
        choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
        answer = {"id": "c", "choices": [choice], "usage": usage, "extra": {"unknown": "field"}}
        await self._respond(writer, json.dumps(answer).encode())

    async def do_vanish(self, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def do_hang(self, reader: asyncio.StreamReader, _: Any) -> None:
        await reader.read()

    async def do_garbage(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._respond(writer, b'{"id": "half', "200 OK")

    async def do_html(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._respond(writer, b"<h1>bad gateway</h1>", "502 Bad Gateway", "text/html")

    async def do_redirect(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._respond(writer, b"{}", "307 Moved", headers="location: http://127.0.0.1:1/\r\n")

    async def do_refuse(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}
        refusal = json.dumps({"error": error}).encode()
        await self._respond(writer, refusal, "400 Bad Request", headers="retry-after: 37\r\n")

    async def do_refuse_as_sglang(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = {"object": "error", "message": "too long", "type": "BadRequest", "code": 400}
        refusal = json.dumps(error).encode()
        await self._respond(writer, refusal, "429 Too Many", headers="retry-after: 37\r\n")

    async def do_refuse_as_fastapi(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = {"detail": [{"loc": ["body", "seed"], "msg": "too long"}]}
        await self._respond(writer, json.dumps(error).encode(), "422 Unprocessable Entity")

    async def do_fail_as_fastapi(self, _: Any, writer: asyncio.StreamWriter) -> None:
        error = json.dumps({"detail": "out of memory"}).encode()
        await self._respond(writer, error, "500 Internal Server Error")

    async def do_overload_as_a_proxy(self, _: Any, writer: asyncio.StreamWriter) -> None:
        page = b"<html>busy</html>"
        await self._respond(writer, page, "503 Busy", headers="retry-after: 37\r\n")

    async def do_linger(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The answer is complete, but the engine does not close the connection."""
        await self._begin(writer)
        writer.write(FINISH + b": ping\ndata:[DONE]\n\n")
        await reader.read()

    async def do_die_in_an_event(self, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))
        await asyncio.sleep(0.05)
        writer.write(b"9\r\n" + CHUNK[:9] + b"\r\n")
        await asyncio.sleep(0.05)

    async def do_die(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        writer.transport.abort()

    async def do_stop_short(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)

    async def do_stall(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        await reader.read()

    async def do_flood(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        while True:
            writer.write(CHUNK * 100)
            self.flooded += 100 * len(CHUNK)
            await writer.drain()

    async def do_endless(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._begin(writer)
        try:
            while not reader.at_eof():
                writer.write(CHUNK)
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            self.cancelled.set()

    async def do_think(self, _: Any, writer: asyncio.StreamWriter) -> None:
        """Spends all of its budget; answers from 30 tokens on, and correctly from 60 on."""
        budget = self.bodies[-1]["thinking_token_budget"]
        content = "" if budget < 30 else '{"sum": "7"}' if budget < 60 else '{"sum": 7}'
        details = {"reasoning_tokens": budget}
        usage = {"prompt_tokens": 3, "completion_tokens": budget + 5}
        usage |= {"completion_tokens_details": details}  # pyright: ignore[reportOperatorIssue]
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
        await self._respond(writer, json.dumps({"choices": [choice], "usage": usage}).encode())

    async def do_think_once(self, reader: Any, writer: asyncio.StreamWriter) -> None:
        """Spends all of a budget of 20, and closes the connection on any other."""
        if self.bodies[-1]["thinking_token_budget"] == 20:
            await self.do_think(reader, writer)

    async def do_headers(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._respond(writer, b"{}", headers=f"x-large: {'x' * 100_000}\r\n")

    async def do_no_choices(self, _: Any, writer: asyncio.StreamWriter) -> None:
        await self._respond(writer, b'{"object": "chat.completion"}')

    async def do_interleave(self, _: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + INTERLEAVED)
        writer.write(FINISH + b"data: [DONE]\n\n")
        await writer.drain()

    async def do_wait(self, reader: asyncio.StreamReader, _: Any) -> None:
        if not await reader.read():
            self.cancelled.set()


@contextmanager
def scripted_engine() -> Generator[ScriptedEngine]:
    engine = ScriptedEngine()
    try:
        yield engine
    finally:
        engine.stop()


def ask(server: Server, script: str, **fields: Any) -> httpx.Response:
    """A chat request through the gateway that makes the engine follow a script."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": script}], **fields}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The OpenAI error object of a response with this status."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error
