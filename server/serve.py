"""`tops serve`: settings, then the gateway on a socket, until SIGTERM."""

import asyncio
import socket
import sys
from collections.abc import Sequence

import structlog
import uvicorn

from router.artifact import ArtifactError
from server.app import create_app
from server.artifact import load_router
from server.engines.fleet import Fleet
from server.ledger.schema import LedgerError
from server.logs import configure_logs
from server.settings import Settings
from server.sources import BadSettings, load_settings
from server.start import check_start

log = structlog.get_logger(__name__)


def serve_main(argv: Sequence[str]) -> int:
    """Serve until told to stop; returns 2 where the settings cannot be used."""
    try:
        settings = load_settings(argv)
        check_start(settings)
        router = load_router(settings)
        listener = _listen(settings)
    except (BadSettings, ArtifactError) as error:
        print(f"tops serve: {error}", file=sys.stderr)
        return 2
    configure_logs(settings.log_level)
    try:
        app = create_app(settings, router)
    except LedgerError as error:
        print(f"tops serve: {error}", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_graceful_shutdown=round(settings.drain_seconds),
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(uvicorn.Server(config), listener, app.fleet))
    return 0


async def _serve(server: uvicorn.Server, listener: socket.socket, fleet: Fleet) -> None:
    announcing = asyncio.create_task(_announce(listener, fleet))
    try:
        await server.serve(sockets=[listener])
    finally:
        announcing.cancel()


async def _announce(listener: socket.socket, fleet: Fleet) -> None:
    """Print the URL once the engine behind it answers."""
    await fleet.ready.wait()
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    print(f"ready: http://{name}:{port}/v1", flush=True)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise BadSettings(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
            "pass another --port, or --port 0 for a free one"
        ) from error
    return listener
