"""A scripted engine in vLLM's dialect, for tests and benchmarks: `python -m loadtest.fake_engine`.

It stands in for engines that are slow, stall, fail and die on command, which no real one does, and
is fast enough not to be what is measured. The last message says what to do: see `loadtest.script`.

With `--log FILE` every request leaves a line there once it has ended: its `x-request-id`, how it
`ended` (whole, broken as scripted, or left by the client) and the tokens it was told to have taken.
What a killed engine was at leaves none.
"""

import argparse
import asyncio
import json
import socket
import time
from pathlib import Path
from typing import IO, Any, Literal, cast

import httptools
import uvloop

from loadtest.script import Script, read_script

_BATCH = 16
"""Chunks between two looks at what else there is to do, where there is no rate."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

_BACKLOG = 4096
"""Connections that wait to be accepted; asyncio's own 100 would refuse a burst."""

Ended = Literal["whole", "broken", "left"]


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": "fake"}
    return {**head, "choices": [choice]}


_THOUGHT = _event(_choice({"reasoning": "hmm "}))
_WORDS = _event(_choice({"content": "word "}))
_FINISH = _event(_choice({"content": ""}, "stop"))
_FAILED = _event({"error": {"message": "scripted", "type": "InternalServerError", "code": 500}})


class Connection(asyncio.Protocol):
    """One client's connection: a request at a time."""

    def __init__(self, engine: "FakeEngine") -> None:
        self._engine = engine
        self._work: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._ready.set()
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body, self._request_id = b"", b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Asyncio's."""
        self._ready.set()
        if self._work is not None:
            self._work.cancel()

    def pause_writing(self) -> None:
        """Asyncio's."""
        self._ready.clear()

    def resume_writing(self) -> None:
        """Asyncio's."""
        self._ready.set()

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """The parser's."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's."""
        if name.lower() == b"x-request-id":
            self._request_id = value

    def on_body(self, body: bytes) -> None:
        """The parser's."""
        self._body += body

    def on_message_complete(self) -> None:
        """The parser's."""
        work = self._answer(self._url, self._body, self._request_id)
        self._reset()
        self._work = asyncio.get_running_loop().create_task(work)

    async def _answer(self, url: bytes, body: bytes, request_id: bytes) -> None:
        if not url.endswith(b"/chat/completions"):
            self._whole(self._engine.describe(url))
            return
        try:
            request: dict[str, Any] = json.loads(body)
            content = request["messages"][-1].get("content")
        except (ValueError, LookupError, TypeError, AttributeError):
            self._whole({"error": {"message": "malformed", "type": "BadRequestError"}}, 400)
            return
        script = read_script(content if isinstance(content, str) else "")
        budget = request.get("thinking_token_budget")
        if budget is not None:
            script.think = min(script.think, budget)
        self._engine.requests += 1
        self._engine.messages += len(request["messages"])
        self._engine.running += 1
        ended: Ended = "left"
        try:
            ended = await self._run(script, request)
        finally:
            self._engine.running -= 1
            self._engine.note(request_id, ended, script)

    async def _run(self, script: Script, request: dict[str, Any]) -> Ended:
        if script.headers:
            await asyncio.sleep(script.headers)
        if script.die and script.at is None:
            self._transport.close()
            return "broken"
        if script.error and script.at is None:
            error = {"message": "scripted", "type": "InternalServerError", "code": script.error}
            self._whole({"error": error}, script.error)
            return "broken"
        if request.get("stream"):
            return await self._stream(script)
        await asyncio.sleep(script.first)
        self._whole(self._completion(script))
        return "whole"

    async def _stream(self, script: Script) -> Ended:
        self._transport.write(_HEAD)
        if script.first:
            await asyncio.sleep(script.first)
        total, made, begun = script.think + script.chunks, 0, time.perf_counter()
        while script.endless or made < total:
            size = 1 if script.rate else _BATCH
            if not script.endless:
                size = min(size, total - made)
            if script.at is not None and made <= script.at < made + size:
                size = script.at - made
                script.at = None
                self._write(script, made, size)
                made += size
                if script.error or script.die:
                    self._break_off(script)
                    return "broken"
                await asyncio.sleep(script.stall)
                continue
            self._write(script, made, size)
            made += size
            await self._ready.wait()
            if script.rate:
                await asyncio.sleep(max(0.0, begun + made / script.rate - time.perf_counter()))
            else:
                await asyncio.sleep(0)
        rest = _FINISH
        if not script.bare:
            rest += _event({**_choice({}), "choices": [], "usage": _usage(script)})
        self._transport.write(_chunked(rest + b"data: [DONE]\n\n") + b"0\r\n\r\n")
        return "whole"

    def _write(self, script: Script, made: int, size: int) -> None:
        """The next chunks, each in a frame and a write of its own as vLLM's are."""
        self._engine.chunks += size
        for place in range(made, made + size):
            frame = self._engine.thought if place < script.think else self._engine.word
            self._transport.write(frame)

    def _break_off(self, script: Script) -> None:
        if script.error:
            self._transport.write(_chunked(_FAILED) + b"0\r\n\r\n")
        else:
            self._transport.close()

    def _completion(self, script: Script) -> dict[str, Any]:
        message = {
            "role": "assistant",
            "reasoning": "hmm " * script.think or None,
            "content": "word " * script.chunks,
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {} if script.bare else {"usage": _usage(script)}
        head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "fake"}
        return {**head, "choices": [choice], **usage}

    def _whole(self, answer: dict[str, Any], status: int = 200) -> None:
        raw = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\n"
        self._transport.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)


class FakeEngine:
    """The engine: what its connections share.

    Args:
        model: the name that it serves under.
        log: unbuffered; see the module.
    """

    def __init__(self, model: str = "fake", log: IO[bytes] | None = None) -> None:
        self._model = model
        self._log = log
        self.thought = _chunked(_THOUGHT)
        self.word = _chunked(_WORDS)
        self.requests = 0
        self.messages = 0
        self.running = 0
        self.chunks = 0

    def describe(self, url: bytes) -> dict[str, Any]:
        """What is asked besides completions: the models, and what was counted."""
        if url.endswith(b"/models"):
            return {"object": "list", "data": [{"id": self._model, "max_model_len": 1_000_000}]}
        names = ("requests", "messages", "running", "chunks")
        return {name: getattr(self, name) for name in names}

    def note(self, request_id: bytes, ended: Ended, script: Script) -> None:
        """Log a request that has ended."""
        if self._log is None:
            return
        usage = _usage(script) if ended == "whole" and not script.bare else None
        line = {"request_id": request_id.decode("latin-1"), "ended": ended, "usage": usage}
        self._log.write(json.dumps(line).encode() + b"\n")

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=_BACKLOG)
        async with server:
            await server.serve_forever()


def _usage(script: Script) -> dict[str, Any]:
    completion = script.think + script.chunks
    return {
        "prompt_tokens": 10,
        "completion_tokens": completion,
        "total_tokens": 10 + completion,
        "completion_tokens_details": {"reasoning_tokens": script.think},
    }


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.fake_engine")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--model", default="fake", help="the name that it serves under")
    parser.add_argument("--log", type=Path, help="append a line here for each request that ended")
    words = parser.parse_args()
    log = words.log.open("ab", buffering=0) if words.log else None
    listener = socket.create_server(("127.0.0.1", words.port))
    uvloop.run(FakeEngine(words.model, log).serve(listener))


if __name__ == "__main__":
    main()
