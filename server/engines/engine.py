"""One engine, reached over HTTP: its connection pool, its requests and its list of models.

Redirects are not followed and the client's key is not forwarded: no key reaches another host.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import orjson

from server.engines.budget_support import UNKNOWN
from server.engines.http_reply import CLIENT_ERRORS, HttpReply
from server.engines.model_info import ModelInfo
from server.errors import BadRequest
from server.http.timeouts import TimeoutPool

_CONNECT_SECONDS = 5
_KEEPALIVE_SECONDS = 3
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

_MODELS_SECONDS = 10
_READ_BUFFER_BYTES = 2**18


class Engine:
    """One OpenAI-compatible engine; its state is set by `server.engines.health`.

    `up`: whether it answers; `model_info`: the model that it serves, None before it was up;
    `budget_support`: how it enforces budgets; `in_flight`: our requests that it is serving;
    `recheck`: set to have its health checked at once.

    Args:
        url: base URL, with or without the trailing /v1.
        api_key: sent as a bearer token; None sends none.
        timeout_seconds: the longest time without a byte of a reply.
    """

    def __init__(self, url: str, api_key: str | None, timeout_seconds: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self.name = urlsplit(self.url).netloc.rpartition("@")[2]
        self.up = False
        self.model_info: ModelInfo | None = None
        self.budget_support = UNKNOWN
        self.in_flight = 0
        self.recheck = asyncio.Event()
        self._timeouts = TimeoutPool(timeout_seconds)
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Keep the connection pool open."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            read_bufsize=_READ_BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        ) as self._session:
            yield

    def post(self, path: str, body: dict[str, Any], request_id: str) -> HttpReply:
        """The reply to a request, which is sent by its `begin`; `aclose` cancels it.

        Raises:
            BadRequest: the body is nested too deeply to be encoded.
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
        return HttpReply(post, self._timeouts)

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that it lists; empty where it is down or its answer cannot be parsed."""
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=_MODELS_SECONDS)
        try:
            async with self._session.get(
                f"{self.url}/models", allow_redirects=False, timeout=timeout
            ) as response:
                return _parse_models(await response.read()) if response.ok else ()
        except CLIENT_ERRORS:
            return ()


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _parse_models(raw: bytes) -> tuple[ModelInfo, ...]:
    try:
        body = orjson.loads(raw)
        models = cast("list[dict[str, Any]]", body["data"])
        return tuple(
            ModelInfo(str(model["id"]), _integer(model.get("max_model_len"))) for model in models
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ()
