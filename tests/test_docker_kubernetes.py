"""Kubernetes manifests, rendered by kustomize, against Kubernetes' schemas and the code."""

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml
from paths import ROOT

from server.config.load_settings import SettingsError, load_settings
from server.config.settings import Settings

FOLDER = ROOT / "docker/kubernetes"
DOCKERFILE = (ROOT / "docker/gateway.Dockerfile").read_text()
OVERLAYS = ("demo", "fleet")
VERSIONS = ("1.30.0", "1.37.0")
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of operators, of which the schemas of Kubernetes know nothing."""

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


@cache
def rendered(overlay: str) -> tuple[dict[str, Any], ...]:
    """What `kubectl apply -k` would send."""
    command = ["kubectl", "kustomize", str(FOLDER / overlay)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(yaml.safe_load_all(output))


def one(overlay: str, kind: str, name: str = "tops-gateway") -> dict[str, Any]:
    (found,) = (
        resource
        for resource in rendered(overlay)
        if (resource["kind"], resource["metadata"]["name"]) == (kind, name)
    )
    return found


def pods(overlay: str) -> Iterator[dict[str, Any]]:
    """The pod templates, with the labels of each."""
    for resource in rendered(overlay):
        if resource["kind"] in {"Deployment", "Job"}:
            yield resource["spec"]["template"]


def container(overlay: str) -> dict[str, Any]:
    (found,) = one(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_is_valid_by_the_schemas_of_kubernetes(overlay: str, version: str) -> None:
    for resource in rendered(overlay):
        if resource["kind"] not in CUSTOM:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_pods_and_their_ports(overlay: str) -> None:
    templates = list(pods(overlay))
    for resource in rendered(overlay):
        spec = resource.get("spec", {})
        selector = spec.get("selector", spec.get("podSelector"))
        if selector is None:
            continue
        labels = selector.get("matchLabels", selector)
        found = [pod for pod in templates if labels.items() <= pod["metadata"]["labels"].items()]
        assert found or resource["kind"] in CUSTOM, resource["metadata"]["name"]
        if resource["kind"] == "Service":
            names = {
                port["name"] for pod in found for port in pod["spec"]["containers"][0]["ports"]
            }
            assert {port["targetPort"] for port in spec["ports"]} <= names


def test_the_monitor_and_the_autoscaler_point_at_what_exists() -> None:
    monitor, service = one("fleet", "ServiceMonitor"), one("fleet", "Service")
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    (gone,) = (
        rule["expr"]
        for group in one("fleet", "PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "TopsGatewayGone"
    )
    assert f'up{{job="{job}"}}' in gone
    scaler = one("fleet", "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == one("fleet", "Deployment")["metadata"]["name"]
    metric = scaler["metrics"][0]["pods"]["metric"]["name"]
    assert f"| `{metric}` |" in (ROOT / "docs/reference/metrics.md").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_longer_to_end_than_the_gateway_takes(overlay: str) -> None:
    pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
    sleep = 10  # seconds, in preStop
    assert (
        f"time.sleep({sleep})" in container(overlay)["lifecycle"]["preStop"]["exec"]["command"][2]
    )
    shutdown: float = Settings.model_fields["shutdown_timeout"].default
    assert pod["terminationGracePeriodSeconds"] >= sleep + shutdown + 5


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_gateways_run_as_the_user_of_the_image_and_write_where_it_may(overlay: str) -> None:
    pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
    assert f"USER {pod['securityContext']['runAsUser']}" in DOCKERFILE
    writable = {mount["mountPath"] for mount in container(overlay)["volumeMounts"]}
    assert {"/tmp", "/var/lib/tops"} <= writable
    assert "TOPS_LEDGER=sqlite:////var/lib/tops/" in DOCKERFILE


def test_the_settings_of_a_fleet_are_valid_and_mounted() -> None:
    settings = load_settings({"config": FOLDER / "fleet/tops.toml"})
    assert settings.upstream == ("http://tops-vllm:8000/v1",)
    assert one("fleet", "Service", "tops-vllm")["spec"]["ports"][0]["port"] == 8000
    (configuration,) = (r for r in rendered("fleet") if r["kind"] == "ConfigMap")
    assert tomllib.loads(configuration["data"]["tops.toml"])["keys"]
    spec = one("fleet", "Deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["config"]["configMap"]["name"] == configuration["metadata"]["name"]
    flag, path = container("fleet")["args"]
    assert (flag, path) == ("--config", "/etc/tops/tops.toml")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_links_to_services_never_become_settings(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Service tops-gateway gives each pod of its namespace TOPS_GATEWAY_PORT, by default."""
    monkeypatch.setenv("TOPS_GATEWAY_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(SettingsError, match="TOPS_GATEWAY_PORT"):
        load_settings({})
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(overlay))
