"""A receiver of OTLP over HTTP on a real socket: what a collector of traces gets."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """`spans` are those that arrived so far, `raw` their bytes, `resources` their attributes."""

    url: str = ""
    spans: list[Span] = field(default_factory=list[Span])
    raw: list[bytes] = field(default_factory=list[bytes])
    resources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def trace(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by name."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}


def attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a span or resource."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in owner.attributes
    }


@contextmanager
def collecting() -> Generator[Collector]:
    collector = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                raw = gzip.decompress(raw)
            collector.raw.append(raw)
            collector.headers.append({name.lower(): text for name, text in self.headers.items()})
            for group in ExportTraceServiceRequest.FromString(raw).resource_spans:
                collector.resources.append(attributes(group.resource))
                for scope in group.scope_spans:
                    collector.spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join(60)
