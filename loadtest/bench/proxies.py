"""Minimal proxies as a baseline: `python -m loadtest.bench.proxies KIND URL PORT`.

Kinds: `raw` is an ASGI function with aiohttp's client; `lean` is FastAPI with the same client;
`naive` is FastAPI with httpx; `parsing` is `naive` that also parses every event. None of them makes
decisions, counts or checks anything.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

_JSON = {"content-type": "application/json"}
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


class RawProxy:
    """A plain ASGI application."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0), timeout=_NO_LIMIT
                )
                await send({"type": f"{message['type']}.complete"})
            return
        body = b""
        incomplete = True
        while incomplete:
            message = await receive()
            body, incomplete = body + message.get("body", b""), message.get("more_body", False)
        assert self._session is not None
        async with self._session.post(self._url, data=body, headers=_JSON) as reply:
            media_type = reply.headers["content-type"].encode()
            head = {"status": reply.status, "headers": [(b"content-type", media_type)]}
            await send({"type": "http.response.start", **head})
            async for chunk in reply.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def lean(url: str) -> FastAPI:
    sessions: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=_NO_LIMIT) as session:
            sessions.append(session)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def relay(request: Request) -> StreamingResponse:
        reply = await sessions[0].post(url, data=await request.body(), headers=_JSON)
        media_type = reply.headers["content-type"]
        return StreamingResponse(reply.content.iter_any(), reply.status, media_type=media_type)

    return app


def naive(url: str, parse: bool) -> FastAPI:
    """FastAPI with httpx's client; `parse` decodes and encodes every event."""
    app = FastAPI()
    client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))  # noqa: S113

    @app.post("/v1/chat/completions")
    async def relay(request: Request) -> StreamingResponse:
        body: dict[str, Any] = await request.json()
        outgoing = client.build_request("POST", url, json=body)
        reply = await client.send(outgoing, stream=True)

        async def lines() -> AsyncIterator[bytes]:
            async for line in reply.aiter_lines():
                if parse and line.startswith("data: {"):
                    yield b"data: " + orjson.dumps(orjson.loads(line[6:])) + b"\n\n"
                elif line:
                    yield line.encode() + b"\n\n"

        media_type = reply.headers["content-type"]
        content = lines() if "event-stream" in media_type else reply.aiter_raw()
        return StreamingResponse(content, reply.status_code, media_type=media_type)

    return app


def main(kind: str, url: str, port: str) -> None:
    """Serve the proxy of a kind in front of the engine at `url`."""
    target = f"{url}/v1/chat/completions"
    app: Any = {
        "raw": lambda: RawProxy(target),
        "lean": lambda: lean(target),
        "naive": lambda: naive(target, parse=False),
        "parsing": lambda: naive(target, parse=True),
    }[kind]()
    uvicorn.run(app, port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
