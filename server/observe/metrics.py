"""Every metric of the gateway, named once.

Labels hold only names from the settings or from closed lists, so that a client cannot invent a
series.
"""

import os
from pathlib import Path
from typing import Generic, Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
_TTFT = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 40.96, 163.84)
_TPOT = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_ROUTED = ("model", "effort", "source")

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Series(Generic[_Metric]):
    """A metric with labels; its series are found at a sixth of what the library's way costs."""

    def __init__(self, metric: _Metric) -> None:
        self._metric = metric
        self._found: dict[tuple[object, ...], _Metric] = {}

    def labels(self, *values: object) -> _Metric:
        """The series of these values, in the labels' order."""
        found = self._found.get(values)
        if found is None:
            found = self._found[values] = self._metric.labels(*values)
        return found


class Metrics:
    """The gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._bound: set[tuple[str, str]] = set()
        self._shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._requests()
        self._tokens()
        self._times()
        self.in_flight = self._gauge("tops_in_flight", "Requests in flight.", several="livesum")
        self.pressure = self._gauge(
            "tops_load_pressure", "How much the engine's load makes thinking dearer, 0 to 1."
        )
        self._engines()
        self._arms()
        self.ledger_rows = self._counter("tops_ledger_rows", "Rows written to the ledger.")
        self.ledger_lost = self._counter(
            "tops_ledger_lost", "Rows that the ledger could not be made to take."
        )

    def _engines(self) -> None:
        self.engine_up = self._gauges(
            "tops_engine_up", "1 while the engine answers its health check.", ("engine",)
        )
        self.engine_restarts = self._counter(
            "tops_engine_restarts", "Restarts of the supervised engine."
        )
        self.engine_retries = self._counter(
            "tops_engine_retries", "Requests sent to another engine before their first byte."
        )
        self._budgets = self._gauges(
            "tops_engine_budgets",
            "1 for how the engine's budgets bind: native, two-phase or none; unproven where no "
            "canary could show it.",
            ("engine", "budgets"),
        )

    def bind(self, engine: str, state: str) -> None:
        """Note how budgets bind on an engine; earlier states are told as 0."""
        self._bound.add((engine, state))
        for labels in self._bound:
            if labels[0] == engine:
                self._budgets.labels(*labels).set(labels[1] == state)

    def _requests(self) -> None:
        self.requests = self._counters(
            "tops_requests",
            "Requests closed, by HTTP status (499: the client left).",
            (*_ROUTED, "status"),
        )
        self.abstentions = self._counters(
            "tops_abstentions",
            "Requests for which the router abstained to the baseline effort.",
            ("model",),
        )
        self.budget_hits = self._counters(
            "tops_budget_hits", "Answers whose budget bound.", _ROUTED
        )
        self.budget_violations = self._counters(
            "tops_budget_violations",
            "Answers with more thinking tokens than their budget.",
            ("model",),
        )

    def _tokens(self) -> None:
        self.prompt_tokens = self._counters("tops_prompt_tokens", "Prompt tokens.", _ROUTED)
        self.thinking_tokens = self._counters(
            "tops_thinking_tokens", "Tokens inside reasoning blocks.", _ROUTED
        )
        self.answer_tokens = self._counters(
            "tops_answer_tokens", "Completion tokens outside reasoning blocks.", _ROUTED
        )
        self.budget_granted = self._counters(
            "tops_budget_tokens",
            "Thinking tokens granted as budgets, of answered requests.",
            _ROUTED,
        )
        self.expected_tokens = self._counters(
            "tops_expected_thinking_tokens",
            "Thinking tokens that answered requests were estimated to take at their own effort.",
            _ROUTED,
        )
        self.baseline_tokens = self._counters(
            "tops_estimated_baseline_tokens",
            "Thinking tokens that answered requests were estimated to take at the baseline effort.",
            _ROUTED,
        )

    def _arms(self) -> None:
        """From these, savings and their interval follow in PromQL: docker/prometheus/rules.yml."""
        by = ("model", "arm")
        self.arm_requests = self._counters(
            "tops_arm_requests", "Answered requests whose effort the client left open.", by
        )
        self.arm_thinking_tokens = self._counters(
            "tops_arm_thinking_tokens", "Thinking tokens that they took.", by
        )
        self.arm_baseline_tokens = self._counters(
            "tops_arm_baseline_tokens",
            "Thinking tokens that they were estimated to take at the baseline effort (0: unknown).",
            by,
        )
        self.arm_squared_misses = self._counters(
            "tops_arm_squared_misses",
            "Sum over them of (thinking tokens - baseline estimate) squared.",
            by,
        )
        by = ("model", "arm", "estimated")
        self.feedback = self._counters(
            "tops_feedback", "Feedback received, on requests with an estimate and without.", by
        )
        self.feedback_score = self._counters(
            "tops_feedback_score", "Sum of the scores of feedback, each 0 to 1.", by
        )
        self.feedback_expected = self._counters(
            "tops_feedback_expected_score",
            "Sum of P(correct) that requests with feedback were estimated to have.",
            by,
        )

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format; of all workers, where there are several."""
        if self._shared is None:
            return generate_latest(self.registry)
        _forget_dead(Path(self._shared))
        everybody = CollectorRegistry()
        multiprocess.MultiProcessCollector(everybody, self._shared)  # registers itself
        return generate_latest(everybody)

    def declare(self, model: str) -> None:
        """Begin series at 0, so that rates count from the first request on and 0 is told as 0."""
        self.budget_violations.labels(model)
        self.abstentions.labels(model)
        for counter in (
            self.arm_requests,
            self.arm_thinking_tokens,
            self.arm_baseline_tokens,
            self.arm_squared_misses,
        ):
            for arm in ("treated", "holdout"):
                counter.labels(model, arm)

    def _times(self) -> None:
        answered = ("model", "effort")
        self.ttft = self._histograms(
            "tops_ttft_seconds",
            "Time from the request to the first streamed chunk.",
            answered,
            _TTFT,
        )
        self.tpot = self._histograms(
            "tops_tpot_seconds",
            "Time per completion token after the first chunk of a stream.",
            answered,
            _TPOT,
        )
        self.latency = self._histograms(
            "tops_request_seconds",
            "Time from the request to the last byte of its answer.",
            answered,
            _LATENCY,
        )
        self.decision = self._histogram(
            "tops_decision_seconds", "Time to estimate and decide.", _OVERHEAD
        )
        self.overhead = self._histogram(
            "tops_overhead_seconds",
            "Time from the request's last byte to its being sent to the engine.",
            _OVERHEAD,
        )

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(name, meaning, registry=self.registry)

    def _counters(self, name: str, meaning: str, labels: tuple[str, ...]) -> Series[Counter]:
        return Series(Counter(name, meaning, labels, registry=self.registry))

    def _gauge(
        self,
        name: str,
        meaning: str,
        several: Literal["livesum", "livemax"] = "livemax",
        labels: tuple[str, ...] = (),
    ) -> Gauge:
        """A gauge; `several` is what is made of what workers say of it."""
        return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode=several)

    def _gauges(self, name: str, meaning: str, labels: tuple[str, ...]) -> Series[Gauge]:
        return Series(self._gauge(name, meaning, labels=labels))

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, registry=self.registry, buckets=buckets)

    def _histograms(
        self, name: str, meaning: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Series[Histogram]:
        return Series(Histogram(name, meaning, labels, registry=self.registry, buckets=buckets))


def _forget_dead(folder: Path) -> None:
    """Workers that ended, however, have nothing in flight; what they counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        if not _alive(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # others' processes are none of ours
        return False
    return True
