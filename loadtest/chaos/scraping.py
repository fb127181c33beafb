"""Scrapes a gateway's /metrics every second, as Prometheus would, and times the scrapes."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx

_INTERVAL_SECONDS = 1.0
_TIMEOUT_SECONDS = 20.0


@asynccontextmanager
async def scraping(url: str) -> AsyncGenerator[list[float | None]]:
    """The seconds of each scrape while the block runs; None for one that failed.

    The scrapes run in a thread: the event loop runs the load's clients, whose work must not count.
    """
    seconds: list[float | None] = []
    stop = threading.Event()

    def scrape() -> None:
        with httpx.Client(timeout=_TIMEOUT_SECONDS) as http:
            while not stop.is_set():
                started = time.perf_counter()
                try:
                    http.get(f"{url}/metrics").raise_for_status()
                    seconds.append(time.perf_counter() - started)
                except httpx.HTTPError:
                    seconds.append(None)
                stop.wait(max(started + _INTERVAL_SECONDS - time.perf_counter(), 0))

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield seconds
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)
