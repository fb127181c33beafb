"""One engine behind the gateway, over HTTP; only this and its tap know the HTTP client.

Redirects are not followed and the client's key is not forwarded: no key reaches another host.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import orjson

from server.engines.budget_support import UNKNOWN
from server.engines.fast_relay import FastRelay
from server.engines.model_info import ModelInfo
from server.engines.reply import Sink
from server.errors import BadRequest, EngineDown, EngineError, EngineFailed, EngineTimeout
from server.http.timeouts import TimeoutPool

_CONNECT_SECONDS = 5
_KEEPALIVE_SECONDS = 3
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

_CHECK_SECONDS = 10
_BLOCK_BYTES = 2**18
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ConnectionRefusedError)


class HttpReply:
    """An engine's answer on its way; whether its thinking was cut, only the engine knows.

    Args:
        post: sends the request.
        patience: how long nothing may come.
    """

    def __init__(
        self, post: Callable[[], Awaitable[aiohttp.ClientResponse]], patience: TimeoutPool
    ) -> None:
        self._post = post
        self._wait = patience.wait()
        self._sent: aiohttp.ClientResponse | None = None
        self._begun = b""
        self.cut = None

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self._response.content_type == "text/event-stream"

    @property
    def retry_after(self) -> str | None:
        """The header of that name."""
        return self._response.headers.get("retry-after")

    @property
    def _response(self) -> aiohttp.ClientResponse:
        assert self._sent is not None, "begin comes first"
        return self._sent

    async def begin(self) -> None:
        """Send the request; wait for the first bytes, or for all of an answer that is no stream.

        Raises:
            EngineDown: no connection.
            EngineFailed: the connection broke.
            EngineTimeout: nothing came for too long.
        """
        try:
            with self._wait:
                self._sent = await self._post()
        except _FAILURES as error:
            raise _ours(error) from error
        self._begun = await (self.next_chunk() if self.is_stream else self._whole())

    async def next_chunk(self) -> bytes:
        """The bytes that have come, at least one; empty at the end."""
        if self._begun:
            begun, self._begun = self._begun, b""
            return begun
        try:
            with self._wait:
                return await self._response.content.readany()
        except _FAILURES as error:
            raise _ours(error) from error

    async def stream_to(self, sink: Sink) -> None:
        """Give all bytes that are still to come to `sink`, chunk by chunk."""
        tap = None
        while block := await self.next_chunk():
            await sink(block)
            connection = self._response.connection
            if connection is None or connection.transport is None:  # all that came is here
                continue
            tap = tap or FastRelay(connection.transport, self._response, sink, self._wait)
            try:
                await tap.run()
            except TimeoutError as error:
                raise _ours(error) from error

    async def _whole(self) -> bytes:
        blocks: list[bytes] = []
        while block := await self.next_chunk():
            blocks.append(block)
        return b"".join(blocks)

    async def read(self) -> bytes:
        """The whole body of an answer that is no stream."""
        return self._begun

    async def aclose(self) -> None:
        """Leave it, wherever it is; the connection is kept where the answer is complete."""
        if self._sent is not None:
            self._sent.release() if self._sent.content.at_eof() else self._sent.close()


class Engine:
    """One OpenAI-compatible engine at `url` (with or without the trailing /v1).

    `up`: whether it answers; `model_info`: the model it serves, None before it was up;
    `budget_support`: how it enforces budgets; `in_flight`: requests of ours that it is serving.
    """

    def __init__(self, url: str, api_key: str | None, silence_seconds: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self.name = urlsplit(self.url).netloc.rpartition("@")[2]
        self.up = False
        self.model_info: ModelInfo | None = None
        self.budget_support = UNKNOWN
        self.in_flight = 0
        self.doubted = asyncio.Event()
        self._patience = TimeoutPool(silence_seconds)
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Open the connection pool."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            read_bufsize=_BLOCK_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        ) as self._session:
            yield

    def post(self, path: str, body: dict[str, Any], request_id: str) -> HttpReply:
        """A request, sent when its reply is begun; closing that before its end cancels it.

        Raises:
            BadRequest: the body is nested too deeply to be written.
        """
        assert self._session is not None
        try:
            data = orjson.dumps(body)
        except orjson.JSONEncodeError:
            raise BadRequest(
                "the request body is nested more than 250 levels deep: flatten it"
            ) from None
        post = partial(
            self._session.post,
            self.url + path,
            data=data,
            headers={"x-request-id": request_id},
            allow_redirects=False,
        )
        return HttpReply(post, self._patience)

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that it serves; none where it does not answer as it should."""
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=_CHECK_SECONDS)
        try:
            async with self._session.get(
                f"{self.url}/models", allow_redirects=False, timeout=timeout
            ) as response:
                return _read_models(await response.read()) if response.ok else ()
        except _FAILURES:
            return ()


def _ours(error: Exception) -> EngineError:
    """The one seam where the HTTP client's errors become ours."""
    if isinstance(error, _UNREACHED):
        return EngineDown("the engine cannot be reached; try again shortly")
    if isinstance(error, TimeoutError):  # aiohttp's own are among them
        return EngineTimeout("the engine was silent for too long; try again later")
    return EngineFailed("the engine broke off before its answer was complete")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _read_models(raw: bytes) -> tuple[ModelInfo, ...]:
    try:
        body = orjson.loads(raw)
        models = cast("list[dict[str, Any]]", body["data"])
        return tuple(
            ModelInfo(str(model["id"]), _count(model.get("max_model_len"))) for model in models
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ()
