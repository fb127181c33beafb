"""Grafana's dashboard and Prometheus' rules, on a real Prometheus that scrapes a real gateway."""

import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Generator
from math import isfinite
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from processes import ROOT, serving

from models.domain.stories import stories
from server.engines.supervisor import free_port

DOCKER = ROOT / "docker"
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana/dashboards/tops.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((DOCKER / "prometheus/rules.yml").read_text())
QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}


def test_the_dashboard_in_the_repository_is_the_one_that_its_code_makes() -> None:
    spec = importlib.util.spec_from_file_location("dashboard", DOCKER / "grafana/dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.dashboard() == DASHBOARD


def test_grafanas_own_types_know_every_field_of_the_dashboard() -> None:
    read = Dashboard.from_json(DASHBOARD)
    written = json.loads(JSONEncoder(sort_keys=True).encode(read))
    assert contained(DASHBOARD, written) == []


def contained(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """The places where `theirs` lacks something of `ours`."""
    if isinstance(ours, dict):
        return [
            place
            for key, value in ours.items()
            for place in contained(value, theirs.get(key), f"{where}.{key}")
        ]
    if isinstance(ours, list):
        return [
            place
            for at, (one, other) in enumerate(zip(ours, theirs, strict=True))
            for place in contained(one, other, f"{where}[{at}]")
        ]
    return [] if ours == theirs else [f"{where}: {ours!r} != {theirs!r}"]


def test_every_metric_of_a_query_is_one_that_the_gateway_has() -> None:
    recorded = {
        rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule
    }
    assert len(recorded) == 7
    assert all(
        any(name in query for query in QUERIES.values()) or ":arm_" in name for name in recorded
    )


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a Prometheus that has scraped a gateway under traffic."""
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    ledger = f"sqlite:///{folder}/ledger.db"
    with serving("--ledger", ledger, "--holdout-share", "0.4") as gateway:
        config: dict[str, Any] = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [
            {"targets": [gateway.url.removeprefix("http://")]}
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(DOCKER / "prometheus/rules.yml", folder)
        address = f"127.0.0.1:{free_port()}"
        words = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
        ]
        with (folder / "log").open("w") as log, subprocess.Popen(words, stderr=log) as process:
            try:
                url = f"http://{address}"
                wait_until(lambda: httpx.get(f"{url}/-/ready").is_success)
                # The counters' zeros before the traffic: an increase is one since the first scrape.
                wait_until(lambda: ask(url, "tops_arm_requests_total"))
                send_traffic(gateway.url)
                wait_until(lambda: float(ask(url, "sum(tops_requests_total)")[0]["value"][1]) > 60)
                time.sleep(3)  # of rules that are evaluated every second
                yield url
            finally:
                process.terminate()


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError("it did not come in time")


def send_traffic(url: str) -> None:
    """Sixty stories, half of them streamed and each given feedback; and a bad request."""
    source = stories(5, "test", 1, 6)
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(60):
            story = next(source)
            body = {
                "messages": [{"role": "user", "content": story.prompt}],
                "stream": number % 2 == 0,
            }
            answer = client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200
            score = {"request_id": answer.headers["x-request-id"], "correct": number % 10 > 0}
            assert client.post("/v1/feedback", json=score).status_code == 200
        assert client.post("/v1/chat/completions", json={"messages": 5}).status_code == 400


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    expr = query.replace("$__rate_interval", "1m").replace("$model", ".*")
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expr}).json()
    assert answer["status"] == "success", (expr, answer)
    return answer["data"]["result"]


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_of_every_panel_returns_data(prometheus: str, name: str) -> None:
    found = ask(prometheus, QUERIES[name])
    assert found, QUERIES[name]
    values = [float(one["value"][1]) for one in found]
    assert any(map(isfinite, values)), "nothing but NaN"


def test_the_rules_hold_and_no_alert_misfires(prometheus: str) -> None:
    rules = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
    assert {group["name"] for group in rules} == {group["name"] for group in RULES["groups"]}
    for group in rules:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
            assert rule.get("state", "inactive") == "inactive", rule
    (saved,) = ask(prometheus, "tops:saved_tokens:1d")
    (doubt,) = ask(prometheus, "tops:saved_tokens_stderr:1d")
    assert float(doubt["value"][1]) > 0
    assert abs(float(saved["value"][1])) < 1_000


def test_promtool_accepts_the_files() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    for words in (["rules", "rules.yml"], ["config", "prometheus.yml"]):
        subprocess.run(["promtool", "check", *words], cwd=DOCKER / "prometheus", check=True)


def test_provisioning_names_what_is_there() -> None:
    provisioning = DOCKER / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    assert used == {source["uid"]}
    assert Path(DOCKER / "grafana/dashboards/tops.json").is_file()


def test_compose_mounts_only_what_is_there() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert "latest" not in service["image"]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).is_dir()
        build = service.get("build")
        assert build is None or (DOCKER / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("profile", ["cpu", "vllm"])
def test_compose_is_valid(profile: str) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    words = ["docker-compose", "-f", "compose.yaml", "--profile", profile, "config", "-q"]
    subprocess.run(words, cwd=DOCKER, check=True)
