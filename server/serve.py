"""Serves the gateway of some settings on a socket, until SIGTERM."""

import gc
import os
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import structlog

from router.router import Router
from server.config.engine_command import check_engine_command
from server.config.limits_store import check_limits_store
from server.config.load_router import load_router
from server.config.load_settings import SettingsError
from server.config.model_template import log_efforts, template_efforts, with_template
from server.config.settings import Settings
from server.config.tracing import check_tracing
from server.decide.kind import unreachable
from server.http.descriptors import raise_descriptor_limit
from server.observe.logs import configure_logs

_MAX_LISTED = 10

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> bool:
    """Serve until SIGTERM or SIGINT; False if the gateway could not start.

    Raises:
        SettingsError, ArtifactError, LedgerError: the settings, the router or the ledger cannot be
            used; the message says what to do.
        GgufError: the model's file cannot be served.
        EngineNeverStarted: the engine exited before it was up.
    """
    check_engine_command(settings)
    check_limits_store(settings)
    check_tracing(settings)
    template = template_efforts(settings)
    settings = with_template(settings, template)
    router = load_router(settings)
    listener = _listen(settings)
    logs = configure_logs(settings.log_level)
    log_efforts(settings, template)
    raise_descriptor_limit()
    _warn_of_kinds(settings, router)
    with _shared_folder(settings.workers) as folder:
        gc.disable()  # imports leave no garbage: a tenth of the start is collecting it
        from server.workers import serve_many, serve_one  # noqa: PLC0415 - after the folder

        gc.enable()
        if folder is None:
            return serve_one(settings, router, listener, logs)
        return serve_many(settings, listener, logs, folder)


def _warn_of_kinds(settings: Settings, router: Router) -> None:
    kinds = unreachable(
        settings, router.artifact.parameters.kinds.by_kind if router.artifact else ()
    )
    if kinds:
        log.warning(
            "the router was fitted on kinds that no request can show: name what shows them in "
            "[[kinds]] tables",
            kinds=kinds[:_MAX_LISTED],
            number=len(kinds),
        )


@contextmanager
def _shared_folder(workers: int) -> Generator[Path | None]:
    """A folder in which workers share their metrics; prometheus-client asks for it on import."""
    if workers == 1:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tops-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield Path(folder)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
            "pass another --port, or --port 0 for a free one"
        ) from error
    return listener
