"""Counts a closed request in the metrics.

Here and not in `server.observe`, whose metrics the engines use as well: those know no requests.
"""

from collections import OrderedDict

from server.decide.decision import Decision
from server.engines.usage import Usage
from server.lifecycle.record import RequestRecord
from server.observe.metrics import Metrics

_MAX_CONVERSATIONS = 10_000
"""Held out conversations that are remembered, so that each counts once."""


class RequestMetrics:
    """The part of the gateway's metrics that follows from closed requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._held_out: OrderedDict[str, None] = OrderedDict()

    def count(self, record: RequestRecord) -> None:
        """Count one closed request; tokens and times only of those answered with 200."""
        metrics, decision = self._metrics, record.decision
        if decision is None:
            metrics.requests.labels(record.model, "", "", record.status).inc()
            return
        labels = (record.model, decision.choice, decision.source)
        metrics.requests.labels(*labels, record.status).inc()
        metrics.pressure.set(decision.pressure)
        if decision.abstained:
            metrics.abstentions.labels(record.model).inc()
        if record.body_read_at and record.decided_at:
            metrics.decision.observe(record.decided_at - record.body_read_at)
        if record.body_read_at and record.forwarded_at:
            metrics.overhead.observe(record.forwarded_at - record.body_read_at)
        if record.status == 200:
            if record.empty_answers:
                empty = metrics.empty_answers.labels(record.model, record.empty_cause)
                empty.inc(record.empty_answers)
            if record.usage is not None:
                self._count_tokens(record, decision, record.usage, labels)
            if decision.composite is not None:
                self._count_attempts(record, (record.model, decision.composite.kind))
            self._observe_latency(record, (record.model, decision.choice))

    def _count_tokens(
        self, record: RequestRecord, decision: Decision, usage: Usage, labels: tuple[str, str, str]
    ) -> None:
        metrics = self._metrics
        metrics.prompt_tokens.labels(*labels).inc(usage.prompt)
        if usage.thinking is None:
            return
        metrics.thinking_tokens.labels(*labels).inc(usage.thinking)
        metrics.answer_tokens.labels(*labels).inc(usage.completion - usage.thinking)
        if record.baseline_tokens is not None:
            metrics.baseline_tokens.labels(*labels).inc(record.baseline_tokens)
        if record.expected_tokens is not None:
            metrics.expected_tokens.labels(*labels).inc(record.expected_tokens)
        if decision.draw is not None:
            self._count_arm((record.model, decision.draw.arm), usage.thinking, record)
        if decision.budget is not None:
            granted = record.choices * decision.budget
            metrics.budget_granted.labels(*labels).inc(granted)
            metrics.budget_hits.labels(*labels).inc(bool(record.budget_hit))
            if record.final_usage and (record.final_usage.thinking or 0) > granted:
                metrics.budget_violations.labels(record.model).inc()

    def _count_attempts(self, record: RequestRecord, labels: tuple[str, str]) -> None:
        metrics = self._metrics
        metrics.composites.labels(*labels).inc()
        if record.attempts > 1:
            metrics.final_attempts.labels(*labels).inc()
        if record.discarded is not None and record.discarded.thinking is not None:
            metrics.discarded_tokens.labels(*labels).inc(record.discarded.thinking)

    def _count_arm(self, labels: tuple[str, str], thinking: int, record: RequestRecord) -> None:
        metrics, expected = self._metrics, record.baseline_tokens or 0.0
        metrics.arm_requests.labels(*labels).inc()
        metrics.arm_thinking_tokens.labels(*labels).inc(thinking)
        metrics.arm_baseline_tokens.labels(*labels).inc(expected)
        metrics.arm_squared_misses.labels(*labels).inc((thinking - expected) ** 2)
        model, arm = labels
        if arm == "holdout" and record.thread is not None:
            self._count_conversation(model, record.thread.conversation)

    def _count_conversation(self, model: str, conversation: str) -> None:
        seen_before = conversation in self._held_out
        self._held_out[conversation] = None
        self._held_out.move_to_end(conversation)
        if len(self._held_out) > _MAX_CONVERSATIONS:
            self._held_out.popitem(last=False)
        if not seen_before:
            self._metrics.held_out_conversations.labels(model).inc()

    def _observe_latency(self, record: RequestRecord, labels: tuple[str, str]) -> None:
        metrics, closed_at = self._metrics, record.closed_at
        assert closed_at is not None
        exemplar = metrics.exemplar(record.request_id)
        metrics.latency.labels(*labels).observe(closed_at - record.opened_at, exemplar)
        if record.first_byte_at is None or not record.stream:
            return
        metrics.ttft.labels(*labels).observe(record.first_byte_at - record.opened_at, exemplar)
        if (seconds := record.first_answer_seconds) is not None:
            metrics.first_answer.labels(*labels).observe(seconds, exemplar)
        if record.usage and record.usage.completion > 1 and not record.was_held:
            seconds = (closed_at - record.first_byte_at) / (record.usage.completion - 1)
            metrics.tpot.labels(*labels).observe(seconds, exemplar)
