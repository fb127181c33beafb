"""One engine, reached over HTTP: its connection pool, its requests and its list of models.

Redirects are not followed and the client's key is not forwarded: no key reaches another host.
"""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import orjson

from server.engines import tokenizer
from server.engines.budget_support import UNKNOWN
from server.engines.connector import Connector
from server.engines.effort_effects import EffortEffects
from server.engines.http_reply import HttpReply
from server.engines.model_info import ModelInfo, parse_model
from server.errors import EngineError
from server.http.json_codec import dumps
from server.http.timeouts import TimeoutPool

_MODELS_SECONDS = 10
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"
_NONE: Mapping[str, str] = {}


class NoModels(Exception):  # noqa: N818 - named for what happened
    """An engine does not list its models; the message says why."""


class Engine:
    """One OpenAI-compatible engine; its state is set by `server.engines.health`.

    `name`, `address`: host and port, and the URL without credentials, for logs and metrics;
    `up`: whether it answers; `model_info`: the model that it serves, None before it was up;
    `budget_support`: how it enforces budgets; `in_flight`: our requests that it is serving;
    `has_tokenizer`: False once it turned out to have none;
    `reports_thinking`: False once it turned out to think without reporting the tokens;
    `effort_effects`: what its efforts do, None before that was measured;
    `recheck`: set to have its health checked at once.

    Args:
        url: base URL, with or without the trailing /v1.
        api_key: sent as a bearer token; None sends none.
        timeout_seconds: the longest time without a byte of a reply.
        transition: the sentence with which it ends thinking at a budget, where that is known.
    """

    def __init__(
        self, url: str, api_key: str | None, timeout_seconds: float, transition: str = ""
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        parts = urlsplit(self.url)
        self.name = parts.netloc.rpartition("@")[2]
        self.address = f"{parts.scheme}://{self.name}{parts.path}"
        self.up = False
        self.model_info: ModelInfo | None = None
        self.budget_support = UNKNOWN
        self.effort_effects: EffortEffects | None = None
        self.in_flight = 0
        self.transition = transition
        self.reports_thinking = True
        self.has_tokenizer = True
        self.recheck = asyncio.Event()
        self._timeouts = TimeoutPool(timeout_seconds)
        self._connector = Connector(parts)
        self._path = quote(parts.path, safe=_PATH_CHARACTERS)
        self._headers = _headers(self.name, _authorization(parts, api_key))

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Close the connections that were kept at the end."""
        try:
            yield
        finally:
            self._connector.close()

    def post(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> HttpReply:
        """The reply to a request, which is sent by its `begin`; `aclose` cancels it."""
        return self._reply(f"POST {self._path}{path}", dumps(body), headers)

    def _reply(self, line: str, body: bytes = b"", headers: Mapping[str, str] = _NONE) -> HttpReply:
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{line} HTTP/1.1\r\n{self._headers}{fields}content-length: {len(body)}\r\n\r\n"
        return HttpReply(self._connector, head.encode() + body, self._timeouts)

    async def _read(self, line: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of a reply that is not long in coming.

        Raises:
            EngineError, TimeoutError: there is none.
        """
        async with asyncio.timeout(_MODELS_SECONDS), aclosing(self._reply(line, body)) as reply:
            await reply.begin()
            return reply.status, await reply.read()

    async def count_tokens(self, text: str) -> int | None:
        """The tokens of a text by the engine's tokenizer; None where it has none or is down."""
        if not self.has_tokenizer:
            return None
        model = self.model_info.model if self.model_info else None
        line = f"POST {self._path.removesuffix('/v1')}{tokenizer.PATH}"
        try:
            status, raw = await self._read(line, tokenizer.token_request(text, model))
        except (EngineError, TimeoutError):
            return None
        self.has_tokenizer = status not in (404, 405, 501)
        return tokenizer.read_token_count(raw) if status < 400 else None

    async def chat_template(self) -> str | None:
        """The chat template that a llama.cpp shows; None where it shows none."""
        try:
            status, raw = await self._read(f"GET {self._path.removesuffix('/v1')}/props")
            template: object = orjson.loads(raw).get("chat_template") if status < 400 else None
        except (EngineError, TimeoutError, ValueError, AttributeError):
            return None
        return template if isinstance(template, str) else None

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models that it lists, at least one.

        Raises:
            NoModels: it lists none; the message says why.
        """
        try:
            status, raw = await self._read(f"GET {self._path}/models")
        except (EngineError, TimeoutError) as error:
            raise NoModels(_describe(error)) from error
        if status in (401, 403):
            raise NoModels(
                f"GET /models answers HTTP {status}: set upstream_api_key (TOPS_UPSTREAM_API_KEY)"
            )
        if status == 503:
            raise NoModels("GET /models answers HTTP 503: the engine is still loading its model")
        models = _parse_models(raw) if status < 400 else ()
        if not models:
            raise NoModels(
                f"GET /models answers HTTP {status} without a list of models: upstream must be the "
                "base URL of an OpenAI-compatible engine"
            )
        return models


def _authorization(url: SplitResult, api_key: str | None) -> str | None:
    """The header's value: the key, or the user and password of the URL."""
    if api_key:
        return f"Bearer {api_key}"
    if url.username is None:
        return None
    credentials = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"


def _headers(host: str, authorization: str | None) -> str:
    """The headers of every request."""
    headers = {
        "host": host if host.isascii() else host.encode("idna").decode(),
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "tops",
        "content-type": "application/json",
    }
    if authorization is not None:
        headers["authorization"] = authorization
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _describe(error: Exception) -> str:
    """Why there was no answer, in the operating system's words where it has some."""
    cause = error.__cause__ if isinstance(error, EngineError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer to GET /models within {_MODELS_SECONDS} s"
    if isinstance(cause, OSError) and cause.strerror:
        number = cause.errno or 0
        return os.strerror(number) if number > 0 else cause.strerror
    return str(cause or error) or type(cause).__name__


def _parse_models(raw: bytes) -> tuple[ModelInfo, ...]:
    try:
        body = orjson.loads(raw)
        models = cast("list[dict[str, Any]]", body["data"])
        return tuple(parse_model(model) for model in models)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ()
