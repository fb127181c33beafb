"""Prometheus's rules and alerts as a resource of its operator, whose kind holds both.

`python docker/kubernetes/prometheus_rule.py` writes fleet/rules.yaml.
"""

from pathlib import Path
from textwrap import indent

OUT = Path(__file__).parent / "fleet" / "rules.yaml"

_FILES = Path(__file__).parents[1] / "prometheus"
_HEAD = """\
# From docker/prometheus, by docker/kubernetes/prometheus_rule.py: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tops-gateway
  labels: { app.kubernetes.io/component: gateway }
spec:
  groups:
"""


def manifest() -> str:
    """The resource as YAML: the groups of both files, as they are written there."""
    files = [(_FILES / name).read_text() for name in ("rules.yml", "alerts.yml")]
    groups = (text.partition("\ngroups:\n")[2] for text in files)
    return _HEAD + indent("\n".join(groups), "  ")


if __name__ == "__main__":
    OUT.write_text(manifest())
