"""Images, compose, Grafana's dashboard and Prometheus's rules; queries run on a real Prometheus."""

import importlib.util
import json
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from paths import ROOT
from polling import PATIENCE_SECONDS
from processes import serving

from models.domain.stories import stories
from server.engines.supervisor import free_port

DOCKER = ROOT / "docker"
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana/dashboards/tops.json").read_text())
REQUESTS, SCORED = 90, 60
FILES = ("rules.yml", "alerts.yml")
RULES: dict[str, Any] = {
    "groups": [
        group
        for file in FILES
        for group in yaml.safe_load((DOCKER / "prometheus" / file).read_text())["groups"]
    ]
}
QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}


def test_the_dashboard_is_up_to_date_with_its_code() -> None:
    spec = importlib.util.spec_from_file_location("dashboard", DOCKER / "grafana/dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.dashboard() == DASHBOARD


def test_grafanas_own_types_have_every_field_of_the_dashboard() -> None:
    read = Dashboard.from_json(DASHBOARD)
    written = json.loads(JSONEncoder(sort_keys=True).encode(read))
    assert missing(DASHBOARD, written) == []


def missing(expected: Any, actual: Any, path: str = "") -> list[str]:
    """The paths at which `actual` lacks something of `expected`."""
    if isinstance(expected, dict):
        return [
            path_missing
            for key, value in expected.items()
            for path_missing in missing(value, actual.get(key), f"{path}.{key}")
        ]
    if isinstance(expected, list):
        return [
            path_missing
            for index, (value, actual_value) in enumerate(zip(expected, actual, strict=True))
            for path_missing in missing(value, actual_value, f"{path}[{index}]")
        ]
    return [] if expected == actual else [f"{path}: {expected!r} != {actual!r}"]


def test_queries_use_every_recording_rule() -> None:
    recorded = {
        rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule
    }
    assert len(recorded) == 9
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
    with serving("--ledger", ledger, "--holdout-share", "0.5") as gateway:
        config: dict[str, Any] = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [
            {"targets": [gateway.url.removeprefix("http://")]}
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        for file in FILES:
            shutil.copy(DOCKER / "prometheus" / file, folder)
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
                # Counters need a sample before the traffic: an increase counts from there.
                wait_until(lambda: ask(url, "tops_arm_requests_total"))
                send_traffic(gateway.url)
                wait_until(lambda: number(url, "sum(tops_requests_total)") > REQUESTS)
                wait_until(lambda: number(url, "tops:saved_tokens_stderr:1d") > 0)
                counted = "sum(tops:arm_requests:1d)"
                wait_until(
                    lambda: number(url, counted) >= number(url, "sum(tops_arm_requests_total)")
                )
                yield url
            finally:
                process.terminate()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("the condition did not become true in a minute")


def send_traffic(url: str) -> None:
    """Stories, half of them streamed and two thirds with feedback; and an invalid request."""
    source = stories(5, "test", 1, 6)
    prompts = [next(source).prompt for _ in range(REQUESTS)]
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(8) as pool:

        def send(index: int, prompt: str) -> None:
            messages = [{"role": "user", "content": prompt}]
            body = {"messages": messages, "stream": index % 2 == 0}
            response = client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200
            if index >= SCORED:
                return
            score = {"request_id": response.headers["x-request-id"], "correct": index % 10 > 0}
            assert client.post("/v1/feedback", json=score).status_code == 200

        list(pool.map(send, range(REQUESTS), prompts))
        assert client.post("/v1/chat/completions", json={"messages": 5}).status_code == 400


def number(prometheus: str, query: str) -> float:
    """The value of a query with a single series; NaN where it has none."""
    result = ask(prometheus, query)
    return float(result[0]["value"][1]) if result else float("nan")


def ask(prometheus: str, query: str) -> list[dict[str, Any]]:
    expr = query.replace("$__rate_interval", "1m").replace("$model", ".*")
    response = httpx.get(f"{prometheus}/api/v1/query", params={"query": expr}).json()
    assert response["status"] == "success", (expr, response)
    return response["data"]["result"]


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_of_every_panel_returns_data(prometheus: str, name: str) -> None:
    wait_until(lambda: ask(prometheus, QUERIES[name]))  # a rate needs two scrapes
    result = ask(prometheus, QUERIES[name])
    values = [float(series["value"][1]) for series in result]
    assert any(map(isfinite, values)), "all values are NaN"


def test_the_rules_are_healthy_and_no_alert_fires(prometheus: str) -> None:
    rules = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
    assert {group["name"] for group in rules} == {group["name"] for group in RULES["groups"]}
    for group in rules:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
            assert rule.get("state", "inactive") == "inactive", rule
    assert number(prometheus, "tops:saved_tokens_stderr:1d") > 0
    assert abs(number(prometheus, "tops:saved_tokens:1d")) < 1_000


def test_promtool_accepts_the_files() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    for words in (["rules", *FILES], ["config", "prometheus.yml"]):
        subprocess.run(["promtool", "check", *words], cwd=DOCKER / "prometheus", check=True)


def series(name: str, increment: float, **labels: str) -> dict[str, str]:
    """A counter over two days, in the notation of promtool: so much more each hour."""
    matchers = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return {"series": f"{name}{{{matchers}}}", "values": f"0+{increment}x48"}


def traffic(treated: float, held_out: float, conversations: float, miss: float) -> list[Any]:
    """Treated requests of 60 tokens and held out ones of 100, each hour, with misses squared."""
    rows: list[Any] = [series("tops_held_out_conversations_total", conversations, model="m")]
    for arm, requests, tokens in (("treated", treated, 60), ("holdout", held_out, 100)):
        for name, value in (
            ("requests", 1),
            ("thinking_tokens", tokens),
            ("baseline_tokens", 100),
            ("squared_misses", (tokens - 100) ** 2 + miss**2),
        ):
            rows.append(series(f"tops_arm_{name}_total", requests * value, model="m", arm=arm))
    return rows


def judged(folder: Path, inputs: list[Any], interval: str = "1h", **expected: list[Any]) -> None:
    """Evaluate the rules with promtool, and compare."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    test = {"interval": interval, "input_series": inputs, **expected}
    rules = str(DOCKER / "prometheus/rules.yml")
    files = {"rule_files": [rules], "evaluation_interval": interval, "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(files))
    words = ["promtool", "test", "rules", str(folder / "test.yml")]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize(
    ("inputs", "share"),
    [
        (traffic(100, 2, 2, 10), 0.4),
        (traffic(100, 2, 1, 10), None),  # 24 conversations of two turns
        (traffic(100, 2, 2, 300), None),  # an interval as wide as what there is to save
    ],
)
def test_savings_are_pending_where_tops_savings_says_so(
    tmp_path: Path, inputs: list[Any], share: float | None
) -> None:
    samples = (
        [] if share is None else [{"labels": 'tops:saved_share:1d{model="m"}', "value": share}]
    )
    expression = {"expr": "tops:saved_share:1d", "eval_time": "2d", "exp_samples": samples}
    judged(tmp_path, inputs, promql_expr_test=[expression])


def test_provisioning_names_files_and_sources_that_exist() -> None:
    provisioning = DOCKER / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    assert used == {source["uid"]}
    assert Path(DOCKER / "grafana/dashboards/tops.json").is_file()


def test_compose_mounts_only_folders_that_exist() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert "latest" not in service["image"]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).is_dir()
        build = service.get("build")
        assert build is None or (DOCKER / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["gateway", "train"])
def test_images_have_every_module_and_install_with_constraints(name: str) -> None:
    text = (DOCKER / f"{name}.Dockerfile").read_text()
    copied = {
        word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()
    }
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    modules = {f"{module}.py" for module in setuptools["py-modules"]}
    packages = {pattern.removesuffix("*") for pattern in setuptools["packages"]["find"]["include"]}
    assert modules | packages | {"pyproject.toml", "constraints.txt"} <= copied
    assert "pip install --no-cache-dir -c constraints.txt" in text


@pytest.mark.parametrize("profile", ["cpu", "vllm"])
def test_compose_is_valid(profile: str) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    words = ["docker-compose", "-f", "compose.yaml", "--profile", profile, "config", "-q"]
    subprocess.run(words, cwd=DOCKER, check=True)
