"""Where spans go, by OpenTelemetry's own environment variables."""

import asyncio
import os

import structlog
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from server.lifecycle.trace import Tracing

_CLOSING_SECONDS = 5.0

log = structlog.get_logger(__name__)


def start_tracing(provider_name: str) -> Tracing:
    """Tracing with the exporter of OTEL_TRACES_EXPORTER; OTLP over HTTP by default.

    Sampling, batches, limits, resource, and the collector's address, headers and TLS are read by
    the SDK itself from the variables of the same names.
    """
    resource = Resource.create(
        {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "tops"}
    )
    provider = TracerProvider(resource=resource)
    exporter = _exporter()
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, provider_name)


async def stop_tracing(tracing: Tracing) -> None:
    """Export what is left, for a few seconds at most."""
    try:
        async with asyncio.timeout(_CLOSING_SECONDS):
            await asyncio.to_thread(tracing.provider.shutdown)
    except TimeoutError:
        log.warning("the collector of traces does not answer: the last spans are lost")


def _exporter() -> SpanExporter | None:
    name = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if name == "none":
        return None
    if name == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - requests
        OTLPSpanExporter,
    )

    return OTLPSpanExporter()
