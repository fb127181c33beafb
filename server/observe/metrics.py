"""Every metric of the gateway, named once.

Label values come only from the settings or from closed lists, so that a client cannot create
series.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    multiprocess,
)
from prometheus_client.exposition import choose_encoder

from server.observe.deferred import Counting, Deferred, Measuring, Observing
from server.observe.live_process import is_alive

_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
_TTFT = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 40.96, 163.84)
_TPOT = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_DECISION_LABELS = ("model", "effort", "source")
_MAX_EXEMPLAR_ID = 128 - len("request_id")
"""OpenMetrics 1.0: name and value of an exemplar's labels have 128 characters together."""

EmptyCause = Literal["max_tokens", "context", "budget", "stop", "unknown"]
"""What ended a completion without an answer; `stop`: the model by itself."""

_Series = TypeVar("_Series")


class Series(Generic[_Series]):
    """A metric with labels, with a cache of its series: a sixth of the cost of the library's."""

    def __init__(self, make: Callable[..., _Series]) -> None:
        self._make = make
        self._series: dict[tuple[object, ...], _Series] = {}

    def labels(self, *values: object) -> _Series:
        """The series with these label values, in the labels' order."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._make(*values)
        return series


class Metrics:
    """The gateway's metrics, in a registry of their own.

    With several workers, PROMETHEUS_MULTIPROC_DIR names the folder that they share.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._budget_states: set[tuple[str, str]] = set()
        self._shared_folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._deferred = Deferred(is_shared=self._shared_folder is not None)
        self.registry.register(self._deferred)
        self._requests()
        self._tokens()
        self._times()
        self.in_flight = self._gauge("tops_in_flight", "Requests in flight.", workers="livesum")
        self.router_loaded = self._gauges(
            "tops_router_loaded",
            "1 where the model has a router, 0 where none decides.",
            ("model",),
        )
        self.max_loss = self._gauges(
            "tops_max_loss",
            "Largest accuracy loss that the policy quality may cost; 1 under other policies.",
            ("model",),
        )
        self.pressure = self._gauge(
            "tops_load_pressure", "How much the engine's load raises the price of thinking, 0 to 1."
        )
        self._engines()
        self._arms()
        self.log_lines_lost = self._counter(
            "tops_log_lines_lost", "Log lines that could not be written to standard error."
        )
        self.ledger_rows = self._counter("tops_ledger_rows", "Rows written to the ledger.")
        self.ledger_lost = self._counter(
            "tops_ledger_lost", "Rows that could not be written to the ledger."
        )

        self._limits()

    def _limits(self) -> None:
        self.over_limit = self._counters(
            "tops_over_limit",
            "Requests over a limit per minute or day of their API key, or over the budget of their "
            "session, refused or lowered to the lowest effort.",
            ("key", "unit", "action"),
        )
        self.limits_store_up = self._gauge(
            "tops_limits_store_up",
            "1 while the shared store of limits answers, 0 while it does not or there is none.",
        )
        self.limits_store_failures = self._counter(
            "tops_limits_store_failures", "Charges that the shared store of limits did not take."
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
            "1 for how the engine's budgets are enforced: native, two-phase or none; unproven "
            "where no canary could show it.",
            ("engine", "budgets"),
        )

    def set_budget_state(self, engine: str, state: str) -> None:
        """Show how budgets are enforced on an engine; its earlier states become 0."""
        self._budget_states.add((engine, state))
        for labels in self._budget_states:
            if labels[0] == engine:
                self._budgets.labels(*labels).set(labels[1] == state)

    def _requests(self) -> None:
        self.requests = self._counters(
            "tops_requests",
            "Requests closed, by HTTP status (499: the client disconnected).",
            (*_DECISION_LABELS, "status"),
        )
        self.abstentions = self._counters(
            "tops_abstentions",
            "Requests for which the router abstained to the baseline effort.",
            ("model",),
        )
        self.budget_hits = self._counters(
            "tops_budget_hits", "Answers whose thinking was cut at the budget.", _DECISION_LABELS
        )
        self.budget_violations = self._counters(
            "tops_budget_violations",
            "Answers with more thinking tokens than their budget.",
            ("model",),
        )

        self.composites = self._counters(
            "tops_composites", "Answered requests at a composite effort.", ("model", "kind")
        )
        self.final_attempts = self._counters(
            "tops_final_attempts",
            "Answers of the final attempt, after an initial one that hit its budget.",
            ("model", "kind"),
        )
        self.discarded_tokens = self._counters(
            "tops_discarded_thinking_tokens",
            "Thinking tokens of the initial attempts that hit their budget.",
            ("model", "kind"),
        )
        self.empty_answers = self._counters(
            "tops_empty_answers",
            "Answers without text and without a tool's call, by what ended them.",
            ("model", "cause"),
        )

    def _tokens(self) -> None:
        self.prompt_tokens = self._counters(
            "tops_prompt_tokens", "Prompt tokens.", _DECISION_LABELS
        )
        self.thinking_tokens = self._counters(
            "tops_thinking_tokens", "Tokens inside reasoning blocks.", _DECISION_LABELS
        )
        self.answer_tokens = self._counters(
            "tops_answer_tokens", "Completion tokens outside reasoning blocks.", _DECISION_LABELS
        )
        self.budget_granted = self._counters(
            "tops_budget_tokens",
            "Thinking tokens granted as budgets, of answered requests.",
            _DECISION_LABELS,
        )
        self.expected_tokens = self._counters(
            "tops_expected_thinking_tokens",
            "Thinking tokens that answered requests were estimated to take at their own effort.",
            _DECISION_LABELS,
        )
        self.baseline_tokens = self._counters(
            "tops_estimated_baseline_tokens",
            "Thinking tokens that answered requests were estimated to take at the baseline effort.",
            _DECISION_LABELS,
        )

    def _arms(self) -> None:
        """Savings and their interval follow from these in docker/prometheus/rules.yml."""
        by = ("model", "arm")
        self.arm_requests = self._counters(
            "tops_arm_requests", "Answered requests whose effort the client left open.", by
        )
        self.arm_thinking_tokens = self._counters(
            "tops_arm_thinking_tokens", "Thinking tokens of these requests.", by
        )
        self.arm_baseline_tokens = self._counters(
            "tops_arm_baseline_tokens",
            "Thinking tokens of these requests estimated at the baseline effort (0: unknown).",
            by,
        )
        self.arm_squared_misses = self._counters(
            "tops_arm_squared_misses",
            "Sum over these requests of (thinking tokens - baseline estimate) squared.",
            by,
        )
        self.held_out_conversations = self._counters(
            "tops_held_out_conversations",
            "Conversations of the arm holdout; savings are pending below 30.",
            ("model",),
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

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics, summed over all workers, and the content type of their format.

        That is OpenMetrics, which has exemplars, where an `Accept` header asks for it, and else
        Prometheus' text format.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._of_all_workers()), content_type

    def exemplar(self, request_id: str) -> dict[str, str] | None:
        """The exemplar of a request; None with several workers, whose files have no room for it."""
        if self._shared_folder is not None or len(request_id) > _MAX_EXEMPLAR_ID:
            return None
        return {"request_id": request_id}

    def value(self, name: str) -> float:
        """The value of a metric without labels, over all workers; 0 where nothing has set it."""
        return self._of_all_workers().get_sample_value(name) or 0.0

    def _of_all_workers(self) -> CollectorRegistry:
        if self._shared_folder is None:
            return self.registry
        _remove_gauges_of_dead_workers(Path(self._shared_folder))
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, self._shared_folder)  # registers itself
        return registry

    def declare(self, model: str) -> None:
        """Create series at 0, so that rates include the first request."""
        self.budget_violations.labels(model)
        self.abstentions.labels(model)
        for cause in get_args(EmptyCause):
            self.empty_answers.labels(model, cause)
        self.held_out_conversations.labels(model)
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
        self.first_answer = self._histograms(
            "tops_first_answer_seconds",
            "Time from the request to the first streamed chunk of the answer, after the thinking.",
            answered,
            _LATENCY,
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

    def _counters(self, name: str, meaning: str, labels: tuple[str, ...]) -> Series[Counting]:
        counter = Counter(name, meaning, labels, registry=self.registry)
        return Series(lambda *values: self._deferred.counter(counter.labels(*values)))

    def _gauge(
        self,
        name: str,
        meaning: str,
        workers: Literal["livesum", "livemax"] = "livemax",
    ) -> Measuring:
        """A gauge; `workers` says how the values of several workers are combined."""
        gauge = Gauge(name, meaning, registry=self.registry, multiprocess_mode=workers)
        return self._deferred.gauge(gauge)

    def _gauges(self, name: str, meaning: str, labels: tuple[str, ...]) -> Series[Gauge]:
        gauge = Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode="livemax")
        return Series(gauge.labels)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Observing:
        histogram = Histogram(name, meaning, registry=self.registry, buckets=buckets)
        return self._deferred.histogram(histogram, buckets)

    def _histograms(
        self, name: str, meaning: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Series[Observing]:
        histogram = Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)
        return Series(lambda *values: self._deferred.histogram(histogram.labels(*values), buckets))


def _remove_gauges_of_dead_workers(folder: Path) -> None:
    """Dead workers have nothing in flight; their counters stay."""
    for file in folder.glob("gauge_live*_*.db"):
        if not is_alive(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)
