"""A load generator that is limited by its core: keep-alive connections, events counted unparsed.

`loadtest.client` measures more per request; here its CPU would be measured as the proxy's delay.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools


@dataclass
class Tally:
    """The counts of a batch; `ttft` has the seconds of each request."""

    requests: int = 0
    errors: int = 0
    chunks: int = 0
    seconds: float = 0.0
    ttft: list[float] = field(default_factory=list[float])


@dataclass(frozen=True)
class Batch:
    """Identical requests.

    Attributes:
        content: the user's message.
        requests: their number.
        concurrency: connections, with one request in flight each.
        rate: requests per second at scheduled times, from which the TTFT then counts; None sends
            each as soon as a connection is free.
        fields: further fields of the body.
    """

    content: str
    requests: int
    concurrency: int
    stream: bool = True
    rate: float | None = None
    fields: Mapping[str, object] = field(default_factory=dict[str, object])


class _Connection(asyncio.Protocol):
    """One connection; its methods are callbacks of asyncio and httptools, except `request`."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._response: asyncio.Future[None] | None = None
        self._started = 0.0
        self._has_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionResetError())

    def on_body(self, body: bytes) -> None:
        if not self._has_body:
            self._has_body = True
            self._tally.ttft.append(time.perf_counter() - self._started)
        self._tally.chunks += body.count(b"data: {")

    def on_message_complete(self) -> None:
        self._tally.requests += 1
        self._tally.errors += self._parser.get_status_code() != 200
        if self._response is not None and not self._response.done():
            self._response.set_result(None)

    async def request(self, request: bytes, scheduled: float | None = None) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed a keep-alive connection")
        self._parser = httptools.HttpResponseParser(self)
        self._response = asyncio.get_running_loop().create_future()
        self._has_body = False
        self._started = time.perf_counter() if scheduled is None else scheduled
        self._transport.write(request)
        await self._response


async def generate(url: str, batch: Batch, key: str | None = None) -> Tally:
    """Send a batch to a base URL (without /v1), with an optional API key.

    Raises:
        OSError: a connection was refused or broke.
    """
    tally, address = Tally(), urlsplit(url).netloc
    host, _, port = address.partition(":")
    request = _request(address, batch, key)
    remaining = deque(range(batch.requests))
    loop = asyncio.get_running_loop()

    async def send_all(transport: asyncio.BaseTransport, connection: _Connection) -> None:
        try:
            while remaining:
                index = remaining.popleft()
                scheduled = None if batch.rate is None else started + index / batch.rate
                if scheduled is not None:
                    await asyncio.sleep(scheduled - time.perf_counter())
                await connection.request(request, scheduled)
        finally:
            transport.close()

    opening = (
        loop.create_connection(lambda: _Connection(tally), host, int(port))
        for _ in range(batch.concurrency)
    )
    connections = await asyncio.gather(*opening)
    started = time.perf_counter()
    await asyncio.gather(*(send_all(*connection) for connection in connections))
    tally.seconds = time.perf_counter() - started
    return tally


def _request(host: str, batch: Batch, key: str | None) -> bytes:
    messages = [{"role": "user", "content": batch.content}]
    options = {"stream_options": {"include_usage": True}} if batch.stream else {}
    body = json.dumps(
        {"model": "demo", "messages": messages, "stream": batch.stream, **options, **batch.fields}
    )
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n{authorization}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
