"""Every metric of the gateway, named once.

Labels hold only names from the settings or from closed lists, so that a client cannot invent a
series.
"""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
_TTFT = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 40.96, 163.84)
_TPOT = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_ROUTED = ("model", "effort", "source")


@dataclass
class Metrics:
    """The gateway's metrics, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        registry = self.registry
        self.requests = Counter(
            "tops_requests",
            "Requests closed, by HTTP status (499: the client left).",
            (*_ROUTED, "status"),
            registry=registry,
        )
        self.thinking_tokens = Counter(
            "tops_thinking_tokens", "Tokens inside reasoning blocks.", _ROUTED, registry=registry
        )
        self.answer_tokens = Counter(
            "tops_answer_tokens",
            "Completion tokens outside reasoning blocks.",
            _ROUTED,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "tops_prompt_tokens", "Prompt tokens.", _ROUTED, registry=registry
        )
        self.budget_granted = Counter(
            "tops_budget_tokens",
            "Thinking tokens granted as budgets, of answered requests.",
            _ROUTED,
            registry=registry,
        )
        self.budget_hits = Counter(
            "tops_budget_hits", "Answers whose budget bound.", _ROUTED, registry=registry
        )
        self.budget_violations = Counter(
            "tops_budget_violations",
            "Answers with more thinking tokens than their budget.",
            ("model",),
            registry=registry,
        )
        self.baseline_tokens = Counter(
            "tops_estimated_baseline_tokens",
            "Thinking tokens that answered requests were estimated to take at the baseline effort.",
            _ROUTED,
            registry=registry,
        )
        self.abstentions = Counter(
            "tops_abstentions",
            "Requests for which the router abstained to the baseline effort.",
            ("model",),
            registry=registry,
        )
        self.ttft = Histogram(
            "tops_ttft_seconds",
            "Time from the request to the first streamed chunk.",
            ("model", "effort"),
            buckets=_TTFT,
            registry=registry,
        )
        self.tpot = Histogram(
            "tops_tpot_seconds",
            "Time per completion token after the first chunk of a stream.",
            ("model", "effort"),
            buckets=_TPOT,
            registry=registry,
        )
        self.latency = Histogram(
            "tops_request_seconds",
            "Time from the request to the last byte of its answer.",
            ("model", "effort"),
            buckets=_LATENCY,
            registry=registry,
        )
        self.router_seconds = Histogram(
            "tops_decision_seconds",
            "Time to estimate and decide.",
            buckets=_OVERHEAD,
            registry=registry,
        )
        self.overhead = Histogram(
            "tops_overhead_seconds",
            "Time from the request's last byte to its being sent to the engine.",
            buckets=_OVERHEAD,
            registry=registry,
        )
        self.in_flight = Gauge("tops_in_flight", "Requests in flight.", registry=registry)
        self.engine_up = Gauge(
            "tops_engine_up", "1 while the engine answers its health check.", registry=registry
        )
        self.engine_restarts = Counter(
            "tops_engine_restarts", "Restarts of the supervised engine.", registry=registry
        )
