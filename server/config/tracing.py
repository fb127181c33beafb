"""Checks the setting `tracing` before the gateway starts."""

import os
from importlib.util import find_spec

from server.config.load_settings import SettingsError
from server.config.settings import Settings

_EXPORTERS = ("otlp", "console", "none")


def check_tracing(settings: Settings) -> None:
    """Check that OpenTelemetry is installed, and can export as its variables ask.

    Raises:
        SettingsError: it is not, or cannot.
    """
    if not settings.tracing:
        return
    try:
        is_installed = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        raise SettingsError("tracing needs OpenTelemetry: pip install 'tops-server[otel]'")
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if exporter not in _EXPORTERS:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER is '{exporter}': tracing exports to {', '.join(_EXPORTERS)}"
        )
    protocol = os.environ.get(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    )
    if exporter == "otlp" and protocol != "http/protobuf":
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is '{protocol}': traces are exported by http/protobuf, "
            "port 4318 of a collector"
        )
