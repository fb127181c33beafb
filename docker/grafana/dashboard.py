"""Grafana's dashboard as code: `python docker/grafana/dashboard.py` writes dashboards/tops.json."""

import json
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "dashboards" / "tops.json"

_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDE, _HALF, _QUARTER = 24, 12, 6
_TALL, _LOW = 8, 5

Panel = dict[str, Any]


def panel(
    title: str,
    queries: dict[str, str],
    unit: str,
    kind: str = "timeseries",
    width: int = _HALF,
    description: str = "",
    stacked: bool = False,
) -> Panel:
    """One panel; `queries` are PromQL expressions by legend."""
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 40} if stacked else {}
    return {
        "title": title,
        "description": description,
        "type": kind,
        "datasource": _SOURCE,
        "gridPos": {"w": width, "h": _LOW if kind == "stat" else _TALL, "x": 0, "y": 0},
        "fieldConfig": {
            "defaults": {"unit": unit, **({"custom": custom} if custom else {})},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(65 + place), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
            for place, (legend, expr) in enumerate(queries.items())
        ],
    }


def quantiles(metric: str, by: str = "effort") -> dict[str, str]:
    """The median and the 99th percentile of a histogram."""
    each = f'sum by (le, {by}) (rate({metric}_bucket{{model=~"$model"}}[$__rate_interval]))'
    return {
        f"p{round(100 * share)} {{{{{by}}}}}": f"histogram_quantile({share}, {each})"
        for share in (0.5, 0.99)
    }


def rate(metric: str, by: str, where: str = "") -> str:
    """A counter's rate, by a label."""
    labels = f'model=~"$model"{where}'
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def ratio(above: str, below: str, where: str = "") -> str:
    """The ratio of two counters' rates, by model."""
    return f"{rate(above, 'model', where)} / {rate(below, 'model', where)}"


def panels() -> list[Panel]:
    """All of them, in reading order."""
    only = '{model=~"$model"}'
    treated = '{model=~"$model", arm="treated"}'
    saved, doubt = f"tops:saved_tokens:1d{only}", f"1.96 * tops:saved_tokens_stderr:1d{only}"
    without = f"({saved} + ignoring (arm) tops:arm_thinking_tokens:1d{treated})"
    day = "over the last day, against the held out conversations"
    return [
        panel("Thinking tokens saved", {"{{model}}": f"tops:saved_share:1d{only}"}, "percentunit",
              "stat", _QUARTER, f"Measured, {day}."),
        panel("Requests", {"{{model}}": rate("tops_requests_total", "model")}, "reqps",
              "stat", _QUARTER),
        panel("Budget violations, a day",
              {"{{model}}": f"sum by (model) (increase(tops_budget_violations_total{only}[1d]))"},
              "short", "stat", _QUARTER, "More thinking tokens than the budget: should be 0."),
        panel("Engines up", {"{{engine}}": "tops_engine_up"}, "short", "stat", _QUARTER),
        panel("Thinking tokens saved a request",
              {"{{model}}": saved, "{{model}} low": f"{saved} - {doubt}",
               "{{model}} high": f"{saved} + {doubt}"},
              "short", description=f"With a 95 % interval, {day}."),
        panel("Share saved, with its interval",
              {"{{model}}": f"tops:saved_share:1d{only}",
               "{{model}} low": f"({saved} - {doubt}) / {without}",
               "{{model}} high": f"({saved} + {doubt}) / {without}"},
              "percentunit"),
        panel("Efforts", {"{{effort}}": rate("tops_requests_total", "effort", ', effort!=""')},
              "reqps", stacked=True),
        panel("Who decided", {"{{source}}": rate("tops_requests_total", "source", ', source!=""')},
              "reqps", stacked=True),
        panel("Thinking tokens", {"{{effort}}": rate("tops_thinking_tokens_total", "effort")},
              "short", stacked=True),
        panel("Budget hits",
              {"{{effort}}": f"{rate('tops_budget_hits_total', 'effort')} / "
                             f"{rate('tops_requests_total', 'effort')}"},
              "percentunit", description="Share of answers whose thinking the budget ended."),
        panel("Time to the first chunk", quantiles("tops_ttft_seconds"), "s"),
        panel("Time per token", quantiles("tops_tpot_seconds"), "s"),
        panel("Request time", quantiles("tops_request_seconds"), "s"),
        panel("The gateway's own time",
              {name: f"histogram_quantile({share}, sum by (le) "
                     "(rate(tops_overhead_seconds_bucket[$__rate_interval])))"
               for name, share in (("p50", 0.5), ("p99", 0.99))},
              "s", description="From a request's last byte to its being sent to the engine."),
        panel("Drift: thinking tokens taken to predicted",
              {"{{model}}": ratio("tops_thinking_tokens_total",
                                  "tops_expected_thinking_tokens_total", ', source="router"')},
              "short", description="1 where the router predicts well."),
        panel("Calibration: feedback against P(correct)",
              {"{{model}} score": ratio("tops_feedback_score_total", "tops_feedback_total",
                                        ', estimated="true"'),
               "{{model}} expected": ratio("tops_feedback_expected_score_total",
                                           "tops_feedback_total", ', estimated="true"')},
              "percentunit"),
        panel("Abstentions", {"{{model}}": rate("tops_abstentions_total", "model")}, "reqps"),
        panel("Errors", {"{{status}}": rate("tops_requests_total", "status", ', status!="200"')},
              "reqps"),
    ]  # fmt: skip


def placed(found: list[Panel]) -> list[Panel]:
    """The panels with ids, laid out from the left and down."""
    x = y = 0
    for number, one in enumerate(found, 1):
        grid = one["gridPos"]
        if x + grid["w"] > _WIDE:
            x = 0
        grid.update(x=x, y=y)
        x += grid["w"]
        if x >= _WIDE:
            x, y = 0, y + grid["h"]
        one["id"] = number
    return found


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana's JSON model."""
    return {
        "uid": "tops",
        "title": "TOPS: thinking just enough",
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
        "panels": placed(panels()),
    }


if __name__ == "__main__":
    OUT.write_text(json.dumps(dashboard(), indent=2) + "\n")
