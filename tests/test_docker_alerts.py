"""Prometheus's alerts: each fires where it must, and not below its volume; each has a runbook."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from paths import ROOT

FOLDER = ROOT / "docker" / "prometheus"
ALERTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0][
    "rules"
]
HOURS, MINUTES = "8d", "7h"
END = {"1h": HOURS, "1m": MINUTES}

SCRAPED = 'job="tops", namespace="tops", service="tops-gateway", endpoint="http", pod="p"'
"""The labels of a scrape in Kubernetes; elsewhere there is only the job, beside the instance."""

Series = Mapping[str, float]
"""Counters with their increase per step, and gauges (without `_total`) with their value."""


def histogram(name: str, per_step: float, seconds: float) -> dict[str, float]:
    """So many observations a step, all of them in the bucket that ends at `seconds`."""
    buckets = {f'{name}_bucket{{job="tops", model="m", le="{seconds}"}}': per_step}
    buckets[f'{name}_bucket{{job="tops", model="m", le="0.01"}}'] = 0.0
    buckets[f'{name}_bucket{{job="tops", model="m", le="+Inf"}}'] = per_step
    return {**buckets, f'{name}_count{{job="tops", model="m"}}': per_step}


def requests(status: int, per_minute: float, source: str = "router") -> dict[str, float]:
    labels = f'job="tops", model="m", status="{status}", source="{source}"'
    return {f"tops_requests_total{{{labels}}}": per_minute}


def of(name: str, value: float, labels: str = "") -> dict[str, float]:
    return {f'{name}{{job="tops", instance="g", model="m"{labels}}}': value}


def feedback(arm: str, per_hour: float, score: float) -> dict[str, float]:
    labels = f', arm="{arm}", estimated="true"'
    return of("tops_feedback_total", per_hour, labels) | of(
        "tops_feedback_score_total", score * per_hour, labels
    )


UP, DOWN = {'up{job="tops", instance="g"}': 1.0}, {'up{job="tops", instance="g"}': 0.0}


def engines(*up: float) -> dict[str, float]:
    return {
        f'tops_engine_up{{job="tops", instance="g", engine="e{index}"}}': value
        for index, value in enumerate(up)
    }


CASES: dict[str, tuple[str, Series, Series]] = {
    "TopsGatewayGone": ("1m", DOWN, UP),
    "TopsNoEngine": ("1m", engines(0, 0), engines(0, 1)),
    "TopsEngineDown": ("1m", engines(0, 1), engines(0, 0)),
    "TopsErrors": (
        "1m",
        requests(502, 2) | requests(200, 50),
        requests(502, 0.4) | requests(200, 5),  # 7 %, of 5 requests in a minute
    ),
    "TopsSlowFirstToken": (
        "1m",
        histogram("tops_ttft_seconds", 10, 20.48),
        histogram("tops_ttft_seconds", 2, 20.48),
    ),
    "TopsSlowGateway": (
        "1m",
        histogram("tops_overhead_seconds", 10, 0.5),
        histogram("tops_overhead_seconds", 10, 0.05),
    ),
    "TopsBudgetsDoNotBind": (
        "1m",
        of("tops_engine_budgets", 1, ', engine="e", budgets="unproven"'),
        of("tops_engine_budgets", 1, ', engine="e", budgets="native"'),
    ),
    "TopsBudgetViolated": (
        "1m",
        of("tops_budget_violations_total", 1) | requests(200, 100),
        of("tops_budget_violations_total", 0.05) | requests(200, 1),
    ),
    "TopsEmptyAnswers": (
        "1m",
        of("tops_empty_answers_total", 1) | requests(200, 100),
        of("tops_empty_answers_total", 0.05) | requests(200, 1),
    ),
    "TopsAbstains": (
        "1m",
        of("tops_abstentions_total", 3)
        | requests(200, 10, "fallback")
        | of("tops_router_loaded", 1),
        of("tops_abstentions_total", 10)
        | requests(200, 10, "fallback")
        | of("tops_router_loaded", 0),
    ),
    "TopsPredictionsDrift": (
        "1m",
        of("tops_thinking_tokens_total", 180, ', source="router"')
        | of("tops_expected_thinking_tokens_total", 100, ', source="router"')
        | requests(200, 1),
        of("tops_thinking_tokens_total", 180, ', source="router"')
        | of("tops_expected_thinking_tokens_total", 100, ', source="router"')
        | requests(200, 0.4),
    ),
    "TopsAccuracyFalls": (
        "1m",
        feedback("treated", 1, 0.8) | of("tops_feedback_expected_score_total", 0.9),
        feedback("treated", 0.2, 0.8) | of("tops_feedback_expected_score_total", 0.18),
    ),
    "TopsPromiseBroken": (
        "1h",
        feedback("treated", 20, 0.8) | feedback("holdout", 4, 0.9) | of("tops_max_loss", 0.01),
        feedback("treated", 20, 0.88) | feedback("holdout", 4, 0.9) | of("tops_max_loss", 0.01),
    ),
    "TopsLedgerLoses": ("1m", of("tops_ledger_lost_total", 1), of("tops_ledger_lost_total", 0)),
    "TopsLimitsStoreDown": (
        "1m",
        of("tops_limits_store_failures_total", 2) | of("tops_limits_store_up", 0),
        of("tops_limits_store_failures_total", 2) | of("tops_limits_store_up", 1),
    ),
}


def values(name: str, value: float, interval: str) -> str:
    steps = 8 * 24 if interval == "1h" else 7 * 60
    is_counter = re.match(r"\w+_(total|bucket|count)\b", name)
    return f"0+{value}x{steps}" if is_counter else f"{value}x{steps}"


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "is-quiet"])
@pytest.mark.parametrize("name", CASES)
def test_an_alert(name: str, fires: bool, tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    interval, firing, quiet = CASES[name]
    given = firing if fires else quiet
    expected = {
        "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
        "eval_time": END[interval],
        "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
    }
    series = [
        {"series": each.replace('job="tops"', SCRAPED), "values": values(each, value, interval)}
        for each, value in given.items()
    ]
    test = {"interval": interval, "input_series": series, "promql_expr_test": [expected]}
    # the other rules would be evaluated too, at every minute of hours
    alert = [alert for alert in ALERTS if alert["alert"] == name]
    (tmp_path / "alert.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "alert", "rules": alert}]})
    )
    reads_rules = "tops:" in alert[0]["expr"]
    files = [str(FOLDER / "rules.yml")] * reads_rules + [str(tmp_path / "alert.yml")]
    order = [
        group["name"]
        for file in files
        for group in yaml.safe_load(Path(file).read_text())["groups"]
    ]
    suite = {
        "rule_files": files,
        "evaluation_interval": interval,
        "group_eval_order": order,  # at random otherwise, and the alert before what it reads
        "tests": [test],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(suite))
    words = ["promtool", "test", "rules", str(tmp_path / "test.yml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.unit
def test_what_alerts_and_rules_read_is_what_the_gateway_counts() -> None:
    """By the reference, which is made of the code: a query by another name would find nothing."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    labels = {
        name: {*re.findall(r"`(\w+)`", told)}
        for name, told in re.findall(r"^\| `(tops_\w+)` \| [^|]+ \| ([^|]*) \|", page, re.MULTILINE)
    }
    rules = [*ALERTS]
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]:
        rules += group["rules"]
    read: set[str] = set()
    for rule in rules:
        for series, matchers in re.findall(r"\b(tops_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            name = re.sub(r"_(bucket|count|sum)$", "", series)
            read.add(name)
            assert {*re.findall(r"(\w+)(?:=|!)", matchers)} <= labels[name], rule
    assert len(read) > 20


@pytest.mark.unit
def test_the_operator_of_prometheus_gets_the_same_rules_and_alerts() -> None:
    """It admits them by the parser of `promtool`, which checks the files."""
    resource = yaml.safe_load((ROOT / "docker/kubernetes/fleet/rules.yaml").read_text())
    groups = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((FOLDER / name).read_text())["groups"]
    ]
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == {"groups": groups}, "run docker/kubernetes/prometheus_rule.py"


@pytest.mark.unit
def test_every_alert_is_tested_and_has_a_runbook() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert sorted(CASES) == sorted(names)
    page = (ROOT / "docs" / "guides" / "alerts.md").read_text()
    assert re.findall(r"^## (Tops\w+)$", page, re.MULTILINE) == names
    for alert in ALERTS:
        anchor = alert["alert"].lower()
        assert alert["annotations"]["runbook"] == f"docs/guides/alerts.md#{anchor}"
        assert alert["labels"]["severity"] in ("critical", "warning")
