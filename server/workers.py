"""The processes that serve: this one, or several workers on one socket, which uvicorn keeps alive.

Workers share the socket, the engine, the ledger with its key, the memory of conversations, and a
folder for their metrics, for the use of keys' limits, and for their load.
"""

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from ctypes import c_ubyte
from functools import partial
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, cast

import structlog
import uvicorn
from uvicorn import _subprocess
from uvicorn.config import STARTUP_FAILURE

from child_python import process_context
from router.artifact import ArtifactError
from router.router import Router
from server.app import create_app
from server.config.engine_command import engine_command
from server.config.load_router import load_router
from server.config.settings import Settings
from server.config.shared import Shared
from server.decide import turn_memory
from server.engines.supervisor import Supervisor
from server.gateway import Gateway
from server.http.connection import Connection, Deadlines
from server.http.connection_pool import ConnectionPool
from server.http.stoppable_server import StoppableServer
from server.http.worker_supervisor import WorkerSupervisor
from server.ledger.opening import open_ledger
from server.ledger.schema import LedgerError
from server.lifecycle.in_flight_table import create_in_flight_table
from server.limits.opening import create_key_table, create_session_table
from server.observe.log_stream import LogStream
from server.observe.logs import configure_logs
from server.observe.metrics import Metrics

_HUNG_SECONDS = 30
"""A worker that answers no ping for this long is replaced; a worker that starts answers none."""

_STARTUP_POLL_SECONDS = 0.05
_FULL_COLLECTION_THRESHOLD = 1_000
"""Collections of the middle generation before a full one; Python's own default is 10."""

log = structlog.get_logger(__name__)


def serve_one(settings: Settings, router: Router, listener: socket.socket, logs: LogStream) -> bool:
    """Serve in this process until SIGTERM or SIGINT; False if the server could not start.

    Raises:
        LedgerError: the ledger cannot be used as it is.
        EngineNeverStarted: the engine exited before it was up.
    """
    app = create_app(settings, router)
    logs.count_losses(app.metrics.log_lines_lost.inc)
    _tune_garbage_collector()
    server = StoppableServer(_config(app, settings))
    # uvicorn raises the signal that stopped it once more at its end, to be handled by these
    signal.signal(signal.SIGINT, server.handle_exit)
    signal.signal(signal.SIGTERM, server.handle_exit)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_serve(server, app, listener))
    if app.supervisor is not None and app.supervisor.failure is not None:
        raise app.supervisor.failure
    return server.started


async def _serve(server: StoppableServer, app: Gateway, listener: socket.socket) -> None:
    async def announce() -> None:
        await app.fleet.health.ready.wait()
        _announce(listener, server.config.backlog)

    async def stop_on_failure(supervisor: Supervisor) -> None:
        await supervisor.failed.wait()
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(_STARTUP_POLL_SECONDS)  # and shuts down only what has started
        server.should_exit = True

    tasks = [asyncio.create_task(announce())]
    if app.supervisor is not None:
        tasks.append(asyncio.create_task(stop_on_failure(app.supervisor)))
    await server.serve(sockets=[listener])
    for task in tasks:
        task.cancel()


def serve_many(settings: Settings, listener: socket.socket, logs: LogStream, folder: Path) -> bool:
    """Serve in workers until SIGTERM or SIGINT; a worker that dies is replaced.

    `folder` is one that they share. False if a worker could not start.

    Raises:
        LedgerError: the ledger cannot be used as it is.
        EngineNeverStarted: the engine exited before it was up.
    """
    metrics = Metrics()
    logs.count_losses(metrics.log_lines_lost.inc)
    ledger, key = open_ledger(settings, metrics)
    if ledger is not None:
        ledger.engine.dispose()
    context = _subprocess.spawn = process_context(__name__)  # by which uvicorn starts workers
    ready = context.Semaphore(0)
    turns = context.RawArray(c_ubyte, turn_memory.BYTES)
    engine = None if settings.upstream else engine_command(settings)
    limits = create_key_table(settings, folder)
    sessions = create_session_table(settings, folder)
    in_flight = create_in_flight_table(folder, settings.workers, len(settings.keys))
    shared = Shared(key, turns, engine, limits, sessions, in_flight, folder, ready)
    app = partial(_worker, settings, shared)
    config = _config(app, settings, factory=True, workers=settings.workers)
    config.timeout_worker_healthcheck = _HUNG_SECONDS
    workers = WorkerSupervisor(config, [listener])
    was_up = threading.Event()

    def announce() -> None:
        ready.acquire()
        was_up.set()
        for _ in range(settings.workers - 1):
            ready.acquire()
        _announce(listener, config.backlog)

    threading.Thread(target=announce, daemon=True).start()
    if engine is None:
        workers.run()
    else:
        supervisor = Supervisor(
            engine.command, was_up.is_set, metrics.engine_restarts.inc, engine.explain
        )
        with _in_thread(supervisor, workers.should_exit.set):
            workers.run()
        if supervisor.failure is not None:
            raise supervisor.failure
    return all(process.exitcode != STARTUP_FAILURE for process in workers.processes)


def _worker(settings: Settings, shared: Shared) -> Gateway:
    """The application of one worker, which ends when its parent does."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # uvicorn's handlers stand by now
    gc.freeze()  # a collection would write to the memory that the workers share since their fork
    logs = configure_logs(settings.log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        app = create_app(settings, load_router(settings), shared)
    except (ArtifactError, LedgerError) as error:  # changed since the parent checked them
        log.critical("a worker cannot start", error=str(error))
        raise SystemExit(STARTUP_FAILURE) from error
    logs.count_losses(app.metrics.log_lines_lost.inc)
    _tune_garbage_collector()
    return app


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _config(app: Any, settings: Settings, **options: Any) -> uvicorn.Config:
    deadlines = Deadlines(
        settings.header_timeout,
        settings.idle_timeout,
        settings.lingering_timeout,
        settings.client_write_timeout,
    )
    pool = ConnectionPool(settings.max_connections, is_worker=settings.workers > 1)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on the client's address
        timeout_graceful_shutdown=round(settings.shutdown_timeout),
        http=cast("Any", partial(Connection, deadlines, pool)),
        ws="none",
        **options,
    )


@contextmanager
def _in_thread(supervisor: Supervisor, on_failure: Any) -> Generator[None]:
    """Run the supervisor in a thread with its own event loop while the context is open."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def supervise() -> None:
        async with supervisor.running():
            stopped = asyncio.create_task(stop.wait())
            failed = asyncio.create_task(supervisor.failed.wait())
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                on_failure()
            stopped.cancel()
            failed.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(supervise(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _tune_garbage_collector() -> None:
    """Exempt what is loaded now from garbage collection, and make full collections rare.

    A full collection halts the process, for 100 ms with 2,000 open streams; collections of young
    objects stay as they are.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTION_THRESHOLD)


def _announce(listener: socket.socket, backlog: int) -> None:
    """Print the URL, and where to go next, now that an engine answers."""
    with suppress(OSError):  # it stops already, nobody reads standard output, or its disk is full
        listener.listen(backlog)  # if a server has not come to that yet, connections wait for it
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        print(f"ready: {url}/v1", flush=True)
        print(f"next: try it at {url}/ and see {url}/dashboard", flush=True)
