"""`tops serve`: settings, then the gateway on a socket, until SIGTERM."""

import os
import socket
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from router.artifact import ArtifactError
from server.config.engine_command import check_start
from server.config.load_router import load_router
from server.config.load_settings import BadSettings, load_settings
from server.config.settings import Settings
from server.observe.logs import configure_logs


def serve_main(argv: Sequence[str]) -> int:
    """Serve until told to stop; 2 where the settings cannot be used, 1 where it could not start."""
    try:
        settings = load_settings(argv)
        check_start(settings)
        router = load_router(settings)
        listener = _listen(settings)
    except (BadSettings, ArtifactError) as error:
        print(f"tops serve: {error}", file=sys.stderr)
        return 2
    configure_logs(settings.log_level)
    with _metrics_folder(settings.workers):
        from server.ledger.schema import LedgerError  # noqa: PLC0415 - after the folder
        from server.workers import serve_many, serve_one  # noqa: PLC0415

        try:
            if settings.workers == 1:
                served = serve_one(settings, router, listener)
            else:
                served = serve_many(settings, listener)
        except LedgerError as error:
            print(f"tops serve: {error}", file=sys.stderr)
            return 2
    return 0 if served else 1


@contextmanager
def _metrics_folder(workers: int) -> Generator[None]:
    """A folder in which workers share their metrics; prometheus-client asks for it on import."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tops-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


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
