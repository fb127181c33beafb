"""The processes that serve: this one, or several workers on one socket, which uvicorn keeps alive.

Workers share the engine, the ledger and a folder for their metrics. What a conversation was last
given, and how many requests a key has in flight, each knows for itself.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, parent_process
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from uvicorn.supervisors import Multiprocess

from router.router import Router
from server.app import create_app
from server.artifact import load_router
from server.engines.fleet import Fleet
from server.engines.supervisor import supervised
from server.front import Front
from server.ledger.opening import open_ledger
from server.logs import configure_logs
from server.metrics import Metrics
from server.settings import Settings
from server.start import Start, start_of

_LOOK_SECONDS = 0.2


def serve_one(settings: Settings, router: Router, listener: socket.socket) -> None:
    """Serve in this process until it is told to stop.

    Raises:
        LedgerError: the ledger cannot be used as it is.
    """
    app = create_app(settings, router)
    config = _config(app, settings)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(uvicorn.Server(config), listener, app.fleet))


def serve_many(settings: Settings, listener: socket.socket) -> None:
    """Serve in workers until this process is told to stop; one that dies is replaced.

    Raises:
        LedgerError: the ledger cannot be used as it is.
    """
    metrics = Metrics()
    ledger, key = open_ledger(settings, metrics)
    if ledger is not None:
        ledger.engine.dispose()
    elif settings.hash_key is None:
        settings = settings.model_copy(update={"hash_key": SecretStr(key.hex())})
    engine = None if settings.upstream else start_of(settings)
    app = partial(_worker, settings, engine)
    config = _config(app, settings, factory=True, workers=settings.workers)
    stopped = threading.Event()
    announcing = threading.Thread(target=_announce_ready, args=(listener, stopped), daemon=True)
    with _running(engine, metrics):
        announcing.start()
        Multiprocess(config, [listener]).run()
        stopped.set()


def _worker(settings: Settings, engine: Start | None) -> Front:
    """The application of one worker, which ends when its parent does."""
    configure_logs(settings.log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return create_app(settings, load_router(settings), engine)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _config(app: Any, settings: Settings, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_graceful_shutdown=round(settings.drain_seconds),
        **more,
    )


@contextmanager
def _running(engine: Start | None, metrics: Metrics) -> Generator[None]:
    """The engine, supervised by a thread with a loop of its own; None is run by others."""
    if engine is None:
        yield
        return
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def supervise() -> None:
        async with supervised(engine.command, metrics.engine_restarts):
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(supervise(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(server: uvicorn.Server, listener: socket.socket, fleet: Fleet) -> None:
    announcing = asyncio.create_task(_announce_up(listener, fleet))
    try:
        await server.serve(sockets=[listener])
    finally:
        announcing.cancel()


async def _announce_up(listener: socket.socket, fleet: Fleet) -> None:
    """Print the URL once the engine behind it answers."""
    await fleet.ready.wait()
    print(f"ready: {_url(listener)}/v1", flush=True)


def _announce_ready(listener: socket.socket, stopped: threading.Event) -> None:
    """The same, seen from outside."""
    url = _url(listener)
    while not stopped.is_set():
        try:
            if httpx.get(f"{url}/ready", timeout=5).is_success:
                print(f"ready: {url}/v1", flush=True)
                return
        except httpx.TransportError:
            pass
        time.sleep(_LOOK_SECONDS)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
