"""Asks as fast as a core allows: keep-alive connections, events counted and not read."""

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
    """What came back; `ttft` in seconds, a request each."""

    requests: int = 0
    errors: int = 0
    chunks: int = 0
    seconds: float = 0.0
    ttft: list[float] = field(default_factory=list[float])


@dataclass(frozen=True)
class Job:
    """So many requests of one kind, `concurrency` at a time.

    With a `rate`, in requests a second, each has a time at which it is due, from which its TTFT
    counts; `more` are fields of the body.
    """

    content: str
    requests: int
    concurrency: int
    stream: bool = True
    rate: float | None = None
    more: Mapping[str, object] = field(default_factory=dict[str, object])


class _Client(asyncio.Protocol):
    """One connection, a request at a time."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._done: asyncio.Future[None] | None = None
        self._begun = 0.0
        self._first = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has its own class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionResetError())

    def on_body(self, body: bytes) -> None:
        if not self._first:
            self._first = True
            self._tally.ttft.append(time.perf_counter() - self._begun)
        self._tally.chunks += body.count(b"data: {")

    def on_message_complete(self) -> None:
        self._tally.requests += 1
        self._tally.errors += self._parser.get_status_code() != 200
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def ask(self, request: bytes, due: float | None = None) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed a connection that was to be kept")
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._first = False
        self._begun = time.perf_counter() if due is None else due
        self._transport.write(request)
        await self._done


async def generate(url: str, job: Job, key: str | None = None) -> Tally:
    """Run a job against a base URL (without /v1).

    Raises:
        OSError: a connection was refused, or broke.
    """
    tally, address = Tally(), urlsplit(url).netloc
    host, _, port = address.partition(":")
    request = _request(address, job, key)
    waiting = deque(range(job.requests))
    loop = asyncio.get_running_loop()

    async def client(transport: asyncio.BaseTransport, protocol: _Client) -> None:
        try:
            while waiting:
                place = waiting.popleft()
                due = None if job.rate is None else begun + place / job.rate
                if due is not None:
                    await asyncio.sleep(due - time.perf_counter())
                await protocol.ask(request, due)
        finally:
            transport.close()

    opening = (
        loop.create_connection(lambda: _Client(tally), host, int(port))
        for _ in range(job.concurrency)
    )
    connections = await asyncio.gather(*opening)
    begun = time.perf_counter()
    await asyncio.gather(*(client(*connection) for connection in connections))
    tally.seconds = time.perf_counter() - begun
    return tally


def _request(host: str, job: Job, key: str | None) -> bytes:
    messages = [{"role": "user", "content": job.content}]
    options = {"stream_options": {"include_usage": True}} if job.stream else {}
    body = json.dumps(
        {"model": "demo", "messages": messages, "stream": job.stream, **options, **job.more}
    )
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n{authorization}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()
