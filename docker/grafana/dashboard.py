"""Grafana's dashboard as code: `python docker/grafana/dashboard.py` writes dashboards/tops.json."""

import json
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "dashboards" / "tops.json"

_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDE, _HALF, _QUARTER = 24, 12, 6
_TALL, _LOW = 8, 5

_MODEL = '{model=~"$model"}'
_SCOPE = "over the last day, compared with the holdout"

Panel = dict[str, Any]


def panel(
    title: str,
    queries: dict[str, str],
    unit: str,
    kind: str = "timeseries",
    width: int = _HALF,
    description: str = "",
    stacked: bool = False,
    no_value: str | None = None,
) -> Panel:
    """A panel of Grafana's JSON model; `queries` are PromQL expressions by legend.

    `no_value` is shown where they have no series.
    """
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 40} if stacked else {}
    return {
        "title": title,
        "description": description,
        "type": kind,
        "datasource": _SOURCE,
        "gridPos": {"w": width, "h": _LOW if kind == "stat" else _TALL, "x": 0, "y": 0},
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                **({"custom": custom} if custom else {}),
                **({"noValue": no_value} if no_value else {}),
            },
            "overrides": [],
        },
        "targets": [
            {"refId": chr(65 + index), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
            for index, (legend, expr) in enumerate(queries.items())
        ],
    }


def quantiles(metric: str, by: str = "effort") -> dict[str, str]:
    """The median and the 99th percentile of a histogram."""
    buckets = f'sum by (le, {by}) (rate({metric}_bucket{{model=~"$model"}}[$__rate_interval]))'
    return {
        f"p{round(100 * share)} {{{{{by}}}}}": f"histogram_quantile({share}, {buckets})"
        for share in (0.5, 0.99)
    }


def rate(metric: str, by: str, where: str = "") -> str:
    """PromQL for the rate of a counter by a label; `where` has further label matchers."""
    labels = f'model=~"$model"{where}'
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def ratio(numerator: str, denominator: str, where: str = "") -> str:
    """PromQL for the ratio of two counters' rates, by model."""
    return f"{rate(numerator, 'model', where)} / {rate(denominator, 'model', where)}"


def overview() -> list[Panel]:
    violations = f"sum by (model) (increase(tops_budget_violations_total{_MODEL}[1d]))"
    return [
        panel(
            "Thinking tokens saved",
            {"{{model}}": f"tops:saved_share:1d{_MODEL}"},
            "percentunit",
            "stat",
            _QUARTER,
            f"Measured {_SCOPE}; pending below 30 held out conversations, and near 0 where the "
            "router abstains.",
            no_value="pending",
        ),
        panel(
            "Requests",
            {"{{model}}": rate("tops_requests_total", "model")},
            "reqps",
            "stat",
            _QUARTER,
        ),
        panel(
            "Budget violations per day",
            {"{{model}}": violations},
            "short",
            "stat",
            _QUARTER,
            "Answers with more thinking tokens than their budget; should be 0.",
        ),
        panel("Engines up", {"{{engine}}": "tops_engine_up"}, "short", "stat", _QUARTER),
    ]


def savings() -> list[Panel]:
    saved, margin = f"tops:saved_tokens:1d{_MODEL}", f"1.96 * tops:saved_tokens_stderr:1d{_MODEL}"
    treated = 'tops:arm_thinking_tokens:1d{model=~"$model", arm="treated"}'
    baseline = f"({saved} + ignoring (arm) {treated})"
    return [
        panel(
            "Thinking tokens saved per request",
            {
                "{{model}}": saved,
                "{{model}} low": f"{saved} - {margin}",
                "{{model}} high": f"{saved} + {margin}",
            },
            "short",
            description=f"With its 95 % interval, {_SCOPE}.",
            no_value="pending",
        ),
        panel(
            "Share of thinking tokens saved, with 95 % interval",
            {
                "{{model}}": f"tops:saved_share:1d{_MODEL}",
                "{{model}} low": f"({saved} - {margin}) / {baseline}",
                "{{model}} high": f"({saved} + {margin}) / {baseline}",
            },
            "percentunit",
            no_value="pending",
        ),
    ]


def decisions() -> list[Panel]:
    hits, requests = rate("tops_budget_hits_total", "effort"), rate("tops_requests_total", "effort")
    return [
        panel(
            "Requests by effort",
            {"{{effort}}": rate("tops_requests_total", "effort", ', effort!=""')},
            "reqps",
            stacked=True,
        ),
        panel(
            "Requests by source of the decision",
            {"{{source}}": rate("tops_requests_total", "source", ', source!=""')},
            "reqps",
            stacked=True,
        ),
        panel(
            "Thinking tokens per second",
            {"{{effort}}": rate("tops_thinking_tokens_total", "effort")},
            "short",
            stacked=True,
        ),
        panel(
            "Budget hits",
            {"{{effort}}": f"{hits} / {requests}"},
            "percentunit",
            description="Share of answers whose thinking was ended by the budget.",
        ),
    ]


def latencies() -> list[Panel]:
    overhead = "sum by (le) (rate(tops_overhead_seconds_bucket[$__rate_interval]))"
    return [
        panel("Time to first chunk", quantiles("tops_ttft_seconds"), "s"),
        panel("Time per output token", quantiles("tops_tpot_seconds"), "s"),
        panel("Request latency", quantiles("tops_request_seconds"), "s"),
        panel(
            "Gateway overhead",
            {
                name: f"histogram_quantile({share}, {overhead})"
                for name, share in (("p50", 0.5), ("p99", 0.99))
            },
            "s",
            description="From the last byte of a request until it is sent to the engine.",
        ),
    ]


def predictions() -> list[Panel]:
    estimated = ', estimated="true"'
    return [
        panel(
            "Drift: actual / predicted thinking tokens",
            {
                "{{model}}": ratio(
                    "tops_thinking_tokens_total",
                    "tops_expected_thinking_tokens_total",
                    ', source="router"',
                )
            },
            "short",
            description="1 if the router predicts well.",
        ),
        panel(
            "Calibration: feedback score and predicted P(correct)",
            {
                "{{model}} score": ratio(
                    "tops_feedback_score_total", "tops_feedback_total", estimated
                ),
                "{{model}} expected": ratio(
                    "tops_feedback_expected_score_total", "tops_feedback_total", estimated
                ),
            },
            "percentunit",
        ),
        panel(
            "Abstentions of the router",
            {"{{model}}": rate("tops_abstentions_total", "model")},
            "reqps",
        ),
    ]


def errors() -> list[Panel]:
    failed = rate("tops_requests_total", "status", ', status!="200"')
    return [panel("Errors by status", {"{{status}}": failed}, "reqps")]


def lay_out(all_panels: list[Panel]) -> list[Panel]:
    """Give panels their ids and grid positions, row by row."""
    x = y = 0
    for number, item in enumerate(all_panels, 1):
        grid = item["gridPos"]
        if x + grid["w"] > _WIDE:
            x = 0
        grid.update(x=x, y=y)
        x += grid["w"]
        if x >= _WIDE:
            x, y = 0, y + grid["h"]
        item["id"] = number
    return all_panels


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana's JSON model."""
    return {
        "uid": "tops",
        "title": "TOPS gateway",
        "tags": ["tops"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "model",
                    "label": "Model",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(tops_requests_total, model)",
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                }
            ]
        },
        "panels": lay_out(
            [
                *overview(),
                *savings(),
                *decisions(),
                *latencies(),
                *predictions(),
                *errors(),
            ]
        ),
    }


if __name__ == "__main__":
    OUT.write_text(json.dumps(dashboard(), indent=2) + "\n")
