"""A client's connection to the fake engine: HTTP in, one request at a time."""

import asyncio
import json
from functools import partial
from typing import Any, cast

import httptools

from loadtest.fake_engine.dialect import error_body, whole_response
from loadtest.fake_engine.reply import Reply
from loadtest.fake_engine.script import Script, read_script
from loadtest.fake_engine.state import Ended, EngineState


class Connection(asyncio.Protocol):
    """Its methods are callbacks of asyncio, except for `on_*`, which are httptools's."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._expect_request()

    def _expect_request(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body, self._request_id = b"", b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self._request_id = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = self._answer(self._url, self._body, self._request_id)
        self._expect_request()
        self._task = asyncio.get_running_loop().create_task(answer)

    async def _answer(self, url: bytes, body: bytes, request_id: bytes) -> None:
        if not url.endswith(b"/chat/completions"):
            self._transport.write(whole_response(self._state.describe(url)))
            return
        try:
            request: dict[str, Any] = json.loads(body)
            script = _script(request)
        except (ValueError, LookupError, TypeError, AttributeError):
            self._transport.write(whole_response(error_body("malformed", "BadRequestError"), 400))
            return
        before_end = partial(self._state.log, request_id, "completing", script)
        reply = Reply(self._state, self._transport, self._writable, script, before_end)
        self._state.begin(len(request["messages"]))
        ended: Ended = "disconnected"
        try:
            ended = await reply.run(bool(request.get("stream")))
        finally:
            if ended == "complete" and script.close:
                self._transport.close()
            self._state.end()
            self._state.log(request_id, ended, script)


def _script(request: dict[str, Any]) -> Script:
    """The script of the last message, with its thinking bounded by the request's budget.

    Raises:
        LookupError, TypeError, AttributeError: the request has no usable messages.
    """
    content = request["messages"][-1].get("content")
    if isinstance(content, list):  # parts, as guidellm sends them
        parts = cast("list[dict[str, Any]]", content)
        content = " ".join(str(part.get("text", "")) for part in parts)
    script = read_script(content if isinstance(content, str) else "")
    budget = request.get("thinking_token_budget")
    if budget is not None:
        script.think = min(script.think, budget)
    return script
