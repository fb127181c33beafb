"""Real clients, as examples/clients shows them, against the gateway with its embedded engine.

They are installed by make test-clients into environments of their own.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from paths import ROOT

from router.fitting.outcomes import read_outcomes

CLIENTS = os.environ.get("TEST_CLIENTS", "")
EXAMPLES = ROOT / "examples" / "clients"
STORY = "Kim has 12 pens. Kim buys 30 more pens. Kim loses 7 pens. How many pens does Kim have now?"
SECONDS = 60

pytestmark = pytest.mark.skipif(not CLIENTS, reason="clients are installed by make test-clients")


def explicit_efforts(gateway: str) -> float:
    """Answers at the effort low that a client asked for."""
    metrics = httpx.get(f"{gateway}/metrics").text
    counts = [
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("tops_requests_total{")
        and {'effort="low"', 'source="request"', 'status="200"'} <= set(re.split("[{},]", line))
    ]
    return sum(counts)


@pytest.fixture(autouse=True)
def sends_its_effort(gateway: str) -> Generator[None]:
    """Each client asks for the effort low, and the gateway must have seen that."""
    before = explicit_efforts(gateway)
    yield
    assert explicit_efforts(gateway) == before + 1


def run(gateway: str, *words: str | Path, cwd: Path = EXAMPLES, **environment: str) -> str:
    finished = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={
            **os.environ,
            "OPENAI_BASE_URL": f"{gateway}/v1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONWARNINGS": "ignore",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("openai_sdk", "'effort': 'low', 'source': 'request', 'budget': 40"),
        ("litellm_sdk", "'effort': 'low', 'source': 'request'"),
        ("langchain_openai_chat", "'reasoning':"),
        ("langchain_deepseek_chat", "The answer is"),
        ("pydantic_ai_agent", "['"),
        ("agents_runner", "The answer is"),
        ("smolagents_model", "The answer is"),
        ("dspy_predict", "'reasoning_content': '"),
        ("inspect_model", "reasoning_tokens="),
    ],
)
def test_python_clients(gateway: str, name: str, shows: str) -> None:
    output = run(gateway, Path(CLIENTS) / "bin" / "python", EXAMPLES / f"{name}.py")
    assert "The answer is" in output
    assert shows in output


@pytest.mark.parametrize(
    ("name", "shows"),
    [("openai_node", "source: 'request'"), ("langchain", "\nThe"), ("ai_sdk", "\nThe")],
)
def test_node_clients(gateway: str, tmp_path: Path, name: str, shows: str) -> None:
    modules = Path(CLIENTS) / "node_modules"
    if not modules.is_dir():
        pytest.skip("node is not installed here")
    (tmp_path / "node_modules").symlink_to(modules)
    shutil.copy(EXAMPLES / f"{name}.mjs", tmp_path)
    output = run(gateway, "node", f"{name}.mjs", cwd=tmp_path)
    assert "The answer is" in output
    assert shows in output


def test_llm_s_command_line(gateway: str, tmp_path: Path) -> None:
    models = (EXAMPLES / "llm_models.yaml").read_text()
    models = models.replace("http://127.0.0.1:8000", gateway)
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    words = ("-m", "tops", "-o", "reasoning_effort", "low", STORY)
    home = {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "unused"}
    assert "The answer is" in run(
        gateway, Path(CLIENTS) / "bin" / "llm", *words, cwd=EXAMPLES, **home
    )


EVALUATION = """
import os, sys
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.model import get_model

model = get_model("openai-api/tops/demo", base_url=os.environ["OPENAI_BASE_URL"], api_key="unused")
task = Task(dataset=[Sample(id="pens", input=sys.argv[1], target="35")], scorer=match(numeric=True))
for effort in ("low", "high"):
    eval(task, model=model, reasoning_effort=effort, log_dir="logs", display="none")
"""


def test_inspect_s_logs_are_read(gateway: str, tmp_path: Path) -> None:
    run(gateway, Path(CLIENTS) / "bin" / "python", "-c", EVALUATION, STORY, cwd=tmp_path)
    reading = read_outcomes([tmp_path / "logs"])
    assert (reading.model, reading.warnings) == ("demo", ())
    assert {outcome.effort for outcome in reading.outcomes} == {"low", "high"}
    assert all(outcome.correct == 1 and outcome.tokens > 0 for outcome in reading.outcomes)
