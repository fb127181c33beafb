"""The processes that serve: this one, or several workers on one socket, which uvicorn keeps alive.

Workers share the socket, the engine, the ledger with its key, and a folder for their metrics. What
a conversation was last given, and how many requests a key has in flight, each knows for itself.
"""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, get_context, parent_process
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from router.artifact import ArtifactError
from router.router import Router
from server.app import create_app
from server.config.engine_command import Start, start_of
from server.config.load_router import load_router
from server.config.settings import Settings
from server.config.shared import Shared
from server.engines.supervisor import supervised
from server.gateway import Gateway
from server.http.connection import Connection
from server.ledger.opening import open_ledger
from server.ledger.schema import LedgerError
from server.observe.logs import configure_logs
from server.observe.metrics import Metrics

_KEEP_ALIVE_SECONDS = 75
"""An idle connection is kept longer than usual load balancers keep theirs, who would else send into
one that is being closed."""

_HUNG_SECONDS = 30
"""A worker that answers no ping for so long is replaced; one that starts does not answer yet."""

_FULL_LOOKS = 1_000
"""So many looks at the middle generation come before a full one; Python's own number is 10."""

log = structlog.get_logger(__name__)


def serve_one(settings: Settings, router: Router, listener: socket.socket) -> bool:
    """Serve in this process until it is told to stop; False where it could not start.

    Raises:
        LedgerError: the ledger cannot be used as it is.
    """
    app = create_app(settings, router)
    _settle()
    server = uvicorn.Server(_config(app, settings))

    async def serve() -> None:
        announcing = asyncio.create_task(announce())
        await server.serve(sockets=[listener])
        announcing.cancel()

    async def announce() -> None:
        await app.fleet.health.ready.wait()
        _announce(listener)

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(serve())
    return server.started


def serve_many(settings: Settings, listener: socket.socket) -> bool:
    """Serve in workers until this process is told to stop; one that dies is replaced.

    False where a worker could not start.

    Raises:
        LedgerError: the ledger cannot be used as it is.
    """
    metrics = Metrics()
    ledger, key = open_ledger(settings, metrics)
    if ledger is not None:
        ledger.engine.dispose()
    ready = get_context("spawn").Semaphore(0)
    engine = None if settings.upstream else start_of(settings)
    app = partial(_worker, settings, Shared(key, engine, ready))
    config = _config(app, settings, factory=True, workers=settings.workers)
    config.timeout_worker_healthcheck = _HUNG_SECONDS
    workers = Multiprocess(config, [listener])

    def announce() -> None:
        for _ in range(settings.workers):
            ready.acquire()
        _announce(listener)

    with _running(engine, metrics):
        threading.Thread(target=announce, daemon=True).start()
        workers.run()
    return all(process.exitcode != STARTUP_FAILURE for process in workers.processes)


def _worker(settings: Settings, shared: Shared) -> Gateway:
    """The application of one worker, which ends when its parent does."""
    configure_logs(settings.log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        app = create_app(settings, load_router(settings), shared)
    except (ArtifactError, LedgerError) as error:  # since the parent looked
        log.critical("a worker cannot start", error=str(error))
        raise SystemExit(STARTUP_FAILURE) from error
    _settle()
    return app


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
        timeout_graceful_shutdown=round(settings.shutdown_timeout),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        http=cast("Any", partial(Connection, settings.client_write_timeout)),
        ws="none",
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
        async with supervised(engine.command, metrics.engine_restarts.inc):
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(supervise(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _settle() -> None:
    """Have the garbage collector look no more at what is loaded, and seldom at all there is.

    A full look halts everything, for 100 ms with 2,000 streams open; looks at what is young stay as
    they are.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_LOOKS)


def _announce(listener: socket.socket) -> None:
    """Print the URL, now that the engine behind it answers."""
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    print(f"ready: http://{host}:{port}/v1", flush=True)
