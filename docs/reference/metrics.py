"""The page on metrics, from their registry."""

from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from docs.reference.markdown import page, table
from server.observe.metrics import Metrics

_METRICS = """\
`GET /metrics` serves these in Prometheus' text format, for all workers together. Times are in
seconds. Labels hold only names from the settings or from closed lists, so a client cannot create a
series. Histograms add the suffixes `_bucket`, `_sum` and `_count`. A scrape that accepts
OpenMetrics, as Prometheus' does, gets an exemplar with the `request_id` in each bucket of the times
of requests, but not with several workers. Prometheus keeps them with
`--enable-feature=exemplar-storage`; the ledger, the log and traces have the same ids.
`docker/prometheus/` has recording rules and [alerts](../guides/alerts.md), `docker/grafana/`
a dashboard."""


def text() -> str:
    rows: list[tuple[str, ...]] = []
    for metric in _instruments(Metrics().registry):
        described = next(iter(metric.describe()))
        name = described.name + ("_total" if isinstance(metric, Counter) else "")
        label_names: tuple[str, ...] = cast("Any", metric)._labelnames
        labels = ", ".join(f"`{label}`" for label in label_names)
        kind = described.type
        if isinstance(metric, Histogram):
            bounds = cast("Any", metric)._upper_bounds
            kind = f"histogram, {bounds[0]:g} to {bounds[-2]:g} s"
        rows.append((f"`{name}`", kind, labels or "-", described.documentation))
    return page("Metrics", _METRICS, table(("metric", "type", "labels", "meaning"), rows))


def _instruments(registry: CollectorRegistry) -> list[Any]:
    """The metrics of a registry in the order of their creation; it has no public list of them."""
    collectors = cast("Any", registry)._collector_to_names
    return [collector for collector in collectors if isinstance(collector, MetricWrapperBase)]
