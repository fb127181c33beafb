"""The spans of one request, in OpenTelemetry's names where it has them; no text of anybody's.

Spans are made from the times in the request's record once it is closed, but for the two whose ids
are known before: the request's own, and that of the engine's call, which is the parent of the
engine's own spans. OpenTelemetry is loaded where tracing is on, and nowhere else.
"""

import time
from typing import Any

from opentelemetry.propagators.textmap import default_getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.decide.decision import Decision
from server.lifecycle.record import RequestRecord

_PROPAGATOR = TraceContextTextMapPropagator()
_OPERATIONS = {"/v1/completions": "text_completion", "/v1/embeddings": "embeddings"}
_SERVER_ERROR = 500

Attributes = dict[str, Any]


class Tracing:
    """Begins the trace of each request.

    Args:
        provider: exports the spans.
        provider_name: of the engines, as `gen_ai.provider.name`: the dialect that they speak.
    """

    def __init__(self, provider: TracerProvider, provider_name: str) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer("tops")
        self._provider_name = provider_name

    def begin(self, record: RequestRecord, path: str) -> None:
        """Begin a request's trace; a valid `traceparent` of the client is its parent."""
        record.trace = RequestTrace(self._tracer, self._provider_name, record, path)


class RequestTrace:
    """The spans of one request; `close` ends them."""

    def __init__(
        self, tracer: Tracer, provider_name: str, record: RequestRecord, path: str
    ) -> None:
        self._tracer = tracer
        self._provider_name, self._path = provider_name, path
        self._epoch = time.time_ns() - int(1e9 * time.perf_counter())
        parent = _PROPAGATOR.extract(record.engine_headers, getter=default_getter)
        opened_at = self._time(record.opened_at)
        name = f"POST {path}"
        self._root = tracer.start_span(name, parent, SpanKind.SERVER, start_time=opened_at)
        self._context = set_span_in_context(self._root)
        self._engine: Span = INVALID_SPAN
        self._engine_name = ""
        self._point_engine_to(record, self._root)

    def begin_engine(self, record: RequestRecord) -> None:
        """Begin a call of an engine; the one before, if any, ends."""
        self._end_engine(record, None)
        name = f"{_OPERATIONS.get(self._path, 'chat')} {record.model}"
        self._engine = self._tracer.start_span(name, self._context, SpanKind.CLIENT)
        self._point_engine_to(record, self._engine)

    def name_engine(self, name: str) -> None:
        """Note which engine answers: its host and port."""
        self._engine_name = name

    def close(self, record: RequestRecord) -> None:
        """End all spans; the record is closed."""
        assert record.closed_at is not None
        self._end_engine(record, record.closed_at)
        root = self._root
        if root.is_recording():
            self._add_stages(record)
            root.set_attributes(self._request_attributes(record))
            if record.status >= _SERVER_ERROR:
                root.set_status(Status(StatusCode.ERROR))
                root.set_attribute("error.type", str(record.status))
        root.end(self._time(record.closed_at))

    def _point_engine_to(self, record: RequestRecord, span: Span) -> None:
        headers = dict(record.engine_headers)
        _PROPAGATOR.inject(headers, set_span_in_context(span))
        record.engine_headers = headers

    def _end_engine(self, record: RequestRecord, ended_at: float | None) -> None:
        span = self._engine
        if span.is_recording():
            span.set_attributes(self._engine_attributes(record))
            if record.first_byte_at is not None and ended_at is not None:
                span.add_event("first byte", timestamp=self._time(record.first_byte_at))
            if record.status >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", str(record.status))
        if span is not INVALID_SPAN:
            span.end(None if ended_at is None else self._time(ended_at))

    def _add_stages(self, record: RequestRecord) -> None:
        read_at, parsed_at = record.body_read_at, record.parsed_at
        if read_at is None or parsed_at is None:
            return
        self._add("parse", read_at, parsed_at, self._root)
        if record.decision is None or record.decided_at is None:
            return
        decided = self._add("decide", parsed_at, record.decided_at, self._root)
        if record.decision.routed_at is not None:
            self._add("estimate", *record.decision.routed_at, decided)

    def _add(self, name: str, start: float, end: float, parent: Span) -> Span:
        context = set_span_in_context(parent)
        span = self._tracer.start_span(name, context, start_time=self._time(start))
        span.end(self._time(end))
        return span

    def _time(self, seconds: float) -> int:
        """A time of `time.perf_counter` as nanoseconds since 1970."""
        return self._epoch + int(1e9 * seconds)

    def _request_attributes(self, record: RequestRecord) -> Attributes:
        attributes: Attributes = {
            "http.request.method": "POST",
            "http.route": self._path,
            "url.path": self._path,
            "http.response.status_code": record.status,
            "tops.request_id": record.request_id,
            "tops.key": record.caller,
        }
        if record.decision is not None:
            attributes |= _decision_attributes(record.decision) | _savings(record)
        return _without_none(attributes)

    def _engine_attributes(self, record: RequestRecord) -> Attributes:
        decision, usage = record.decision, record.final_usage
        host, _, port = self._engine_name.rpartition(":")
        attributes: Attributes = {
            "gen_ai.operation.name": _OPERATIONS.get(self._path, "chat"),
            "gen_ai.provider.name": self._provider_name,
            "gen_ai.request.model": record.model,
            "gen_ai.response.model": record.model,
            "gen_ai.request.max_tokens": record.max_tokens,
            "gen_ai.request.choice.count": record.choices if record.choices > 1 else None,
            "gen_ai.request.stream": record.stream or None,
            "server.address": (host or self._engine_name).strip("[]") or None,
            "server.port": int(port) if host and port.isdigit() else None,
        }
        if record.thread is not None and record.thread.evidence is not None:
            attributes["gen_ai.conversation.id"] = record.thread.conversation
        if record.first_byte_at is not None and record.forwarded_at is not None:
            seconds = record.first_byte_at - record.forwarded_at
            attributes["gen_ai.response.time_to_first_chunk"] = seconds
        if decision is not None:
            attributes |= {
                "gen_ai.request.reasoning.level": decision.effort,
                "tops.budget": decision.budget,
                "tops.budget_hit": record.budget_hit,
            }
        if usage is not None:
            attributes |= {
                "gen_ai.usage.input_tokens": usage.prompt,
                "gen_ai.usage.output_tokens": usage.completion,
                "gen_ai.usage.reasoning.output_tokens": usage.thinking,
            }
        return _without_none(attributes)


def _decision_attributes(decision: Decision) -> Attributes:
    attributes: Attributes = {
        "tops.effort": decision.effort,
        "tops.source": decision.source,
        "tops.baseline_effort": decision.baseline_effort,
        "tops.budget": decision.budget,
        "tops.budget_source": decision.budget_source,
        "tops.arm": decision.arm,
        "tops.abstained": decision.abstained,
        "tops.kind": decision.kind,
        "tops.pressure": decision.pressure,
    }
    if decision.composite is not None:
        attributes["tops.composite"] = decision.composite.name
    if decision.estimate is not None:
        attributes["tops.difficulty"] = decision.estimate.difficulty
        attributes["tops.p_correct"] = decision.estimate.p_correct.get(decision.choice)
    return attributes


def _savings(record: RequestRecord) -> Attributes:
    """What was thought, beside what the baseline was expected to; the difference is an estimate."""
    spent = record.spent
    thinking = spent.thinking if spent else None
    baseline = record.baseline_tokens
    attributes: Attributes = {
        "tops.attempts": record.attempts,
        "tops.budget_hit": record.budget_hit,
        "tops.thinking_tokens": thinking,
        "tops.baseline_tokens": baseline,
    }
    if thinking is not None and baseline is not None:
        attributes["tops.estimated_saved_tokens"] = baseline - thinking
    return attributes


def _without_none(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
