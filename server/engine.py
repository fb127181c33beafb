"""The engine behind the gateway, over HTTP; the only module that knows the HTTP client.

Redirects are not followed and the client's key is not forwarded: no key reaches another host.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import orjson
import structlog

from server.errors import EngineDown, EngineFailed, EngineTimeout, NotFound

_CONNECT_SECONDS = 5
_KEEPALIVE_SECONDS = 3
"""Below the 5 seconds after which uvicorn, and so vLLM, closes an idle connection."""

_CHECK_SECONDS = 10
_UP_INTERVAL, _DOWN_INTERVAL = 5.0, 0.25
_BLOCK_BYTES = 2**18

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Served:
    """The engine's model; `context` is in tokens, None where the engine does not tell."""

    model: str
    context: int | None

    def card(self) -> dict[str, Any]:
        """The model object of `GET /v1/models`, in vLLM's form."""
        return {
            "id": self.model,
            "object": "model",
            "owned_by": "tops",
            "max_model_len": self.context,
        }


@dataclass(frozen=True)
class Reply:
    """An engine's answer whose body has not been read yet."""

    response: aiohttp.ClientResponse

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.response.status

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self.response.content_type == "text/event-stream"

    async def read(self) -> bytes:
        """The whole body."""
        with _translated():
            return await self.response.read()

    async def block(self) -> bytes:
        """The bytes that have come, at least one; empty at the end."""
        with _translated():
            return await self.response.content.readany()


class Engine:
    """One OpenAI-compatible engine at `url` (with or without the trailing /v1)."""

    def __init__(
        self, url: str, model: str | None, api_key: str | None, silence_seconds: float
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self.served: Served | None = None
        self.up = False
        self.ready = asyncio.Event()
        self._model = model
        self._silence = silence_seconds
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[None]:
        """Open the connection pool, and watch the engine's health while it is open."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            read_bufsize=_BLOCK_BYTES,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._silence
            ),
        ) as self._session:
            watch = asyncio.create_task(self._watch())
            try:
                yield
            finally:
                watch.cancel()

    @asynccontextmanager
    async def complete(self, body: dict[str, Any], request_id: str) -> AsyncGenerator[Reply]:
        """Ask for a chat completion; leaving the context before the end cancels it.

        Raises:
            EngineDown: no connection.
            EngineFailed: the connection broke.
            EngineTimeout: nothing came for `silence_seconds`.
        """
        assert self._session is not None
        with _translated():
            response = await self._session.post(
                f"{self.url}/chat/completions",
                data=orjson.dumps(body),
                headers={"x-request-id": request_id},
                allow_redirects=False,
            )
        try:
            yield Reply(response)
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def check(self) -> None:
        """Ask for the engine's models, and note whether it is up."""
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=_CHECK_SECONDS)
        try:
            async with self._session.get(
                f"{self.url}/models", allow_redirects=False, timeout=timeout
            ) as response:
                served = _read_models(await response.read()) if response.ok else ()
        except (aiohttp.ClientError, TimeoutError, OSError):
            served = ()
        chosen = next((one for one in served if self._model in (None, one.model)), None)
        if chosen is not None and not self.up:
            log.info("engine up", url=self.url, model=chosen.model, context=chosen.context)
        elif chosen is None and self.up:
            log.warning("engine down", url=self.url)
        self.up = chosen is not None
        if chosen is not None:
            self.served = chosen
            self.ready.set()

    def served_as(self, asked: str | None) -> Served:
        """The served model, if that is the one asked for (or none was named).

        Raises:
            NotFound: another model was asked for.
            EngineDown: the engine was never up, so its model is not known.
        """
        if self.served is None:
            raise EngineDown("the engine is not up yet; try again shortly")
        if asked not in (None, self.served.model):
            raise NotFound(
                f"the model '{asked[:80]}' does not exist here; there is '{self.served.model}'",
                "model",
            )
        return self.served

    async def _watch(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(_UP_INTERVAL if self.up else _DOWN_INTERVAL)


@contextmanager
def _translated() -> Generator[None]:
    """The one seam where the HTTP client's errors become ours."""
    try:
        yield
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise EngineTimeout("the engine was silent for too long; try again later") from error
    except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
        raise EngineDown("the engine cannot be reached; try again shortly") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineFailed("the engine broke off before its answer was complete") from error


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _read_models(raw: bytes) -> tuple[Served, ...]:
    try:
        body = orjson.loads(raw)
        models = cast("list[dict[str, Any]]", body["data"])
        return tuple(
            Served(str(model["id"]), _count(model.get("max_model_len"))) for model in models
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ()
