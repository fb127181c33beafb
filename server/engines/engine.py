"""One engine, reached over HTTP: its connection pool, its requests and its list of models.

Redirects are not followed and the client's key is not forwarded: no key reaches another host.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import orjson

from server.engines import tokenizer
from server.engines.budget_support import UNKNOWN
from server.engines.connection import EngineConnector, StaleConnection
from server.engines.http_reply import CLIENT_ERRORS, HttpReply
from server.engines.model_info import ModelInfo, parse_model
from server.http.json_codec import dumps
from server.http.timeouts import TimeoutPool

CONNECT_SECONDS = 5
_KEEPALIVE_SECONDS = 3
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

_MODELS_SECONDS = 10
_READ_BUFFER_BYTES = 2**18


class NoModels(Exception):  # noqa: N818 - named for what happened
    """An engine does not list its models; the message says why."""


class Engine:
    """One OpenAI-compatible engine; its state is set by `server.engines.health`.

    `name`, `address`: host and port, and the URL without credentials, for logs and metrics;
    `up`: whether it answers; `model_info`: the model that it serves, None before it was up;
    `budget_support`: how it enforces budgets; `in_flight`: our requests that it is serving;
    `has_tokenizer`: False once it turned out to have none;
    `recheck`: set to have its health checked at once.

    Args:
        url: base URL, with or without the trailing /v1.
        api_key: sent as a bearer token; None sends none.
        timeout_seconds: the longest time without a byte of a reply.
    """

    def __init__(self, url: str, api_key: str | None, timeout_seconds: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        parts = urlsplit(self.url)
        self.name = parts.netloc.rpartition("@")[2]
        self.address = f"{parts.scheme}://{self.name}{parts.path}"
        self.up = False
        self.model_info: ModelInfo | None = None
        self.budget_support = UNKNOWN
        self.in_flight = 0
        self.has_tokenizer = True
        self.recheck = asyncio.Event()
        self._timeouts = TimeoutPool(timeout_seconds)
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None
        self._unpooled: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Keep the connection pool open."""
        pool = EngineConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        unpooled = EngineConnector(limit=0, force_close=True)
        async with self._client(pool) as self._session, self._client(unpooled) as self._unpooled:
            yield

    def _client(self, connector: EngineConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            read_bufsize=_READ_BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        )

    def post(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> HttpReply:
        """The reply to a request, which is sent by its `begin`; `aclose` cancels it."""
        send = partial(self._send, "POST", self.url + path, data=dumps(body), headers=headers)
        return HttpReply(send, self._timeouts)

    async def _send(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse:
        """Send a request; again on a new connection where the engine had closed a used one.

        RFC 9110, section 9.2.2: a client that knows that a request was not applied may repeat it.
        llama.cpp closes connections after a stream, though its headers promise to keep them.
        """
        assert self._session is not None
        assert self._unpooled is not None
        try:
            return await self._session.request(method, url, allow_redirects=False, **options)
        except StaleConnection:
            return await self._unpooled.request(method, url, allow_redirects=False, **options)

    async def count_tokens(self, text: str) -> int | None:
        """The tokens of a text by the engine's tokenizer; None where it has none or is down."""
        if not self.has_tokenizer:
            return None
        model = self.model_info.model if self.model_info else None
        try:
            async with await self._send(
                "POST",
                self.url.removesuffix("/v1") + tokenizer.PATH,
                data=tokenizer.token_request(text, model),
                timeout=aiohttp.ClientTimeout(total=_MODELS_SECONDS),
            ) as response:
                self.has_tokenizer = response.status not in (404, 405, 501)
                raw = await response.read()
                return tokenizer.read_token_count(raw) if response.ok else None
        except CLIENT_ERRORS:
            return None

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that it lists, at least one.

        Raises:
            NoModels: it lists none; the message says why.
        """
        timeout = aiohttp.ClientTimeout(total=_MODELS_SECONDS)
        try:
            async with await self._send("GET", f"{self.url}/models", timeout=timeout) as response:
                status, raw = response.status, await response.read()
        except CLIENT_ERRORS as error:
            raise NoModels(_describe(error)) from error
        if status in (401, 403):
            raise NoModels(f"GET /models answers HTTP {status}: set upstream_api_key")
        models = _parse_models(raw) if status < 400 else ()
        if not models:
            raise NoModels(
                f"GET /models answers HTTP {status} without a list of models: upstream must be the "
                "base URL of an OpenAI-compatible engine"
            )
        return models


def _describe(error: Exception) -> str:
    """Why there was no answer, in the operating system's words where it has some."""
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    if isinstance(error, TimeoutError):
        return f"no answer to GET /models within {_MODELS_SECONDS} s"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _parse_models(raw: bytes) -> tuple[ModelInfo, ...]:
    try:
        body = orjson.loads(raw)
        models = cast("list[dict[str, Any]]", body["data"])
        return tuple(parse_model(model) for model in models)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ()
