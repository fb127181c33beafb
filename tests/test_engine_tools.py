"""Unmodified third-party tools: vllm-router behind the gateway, lm-eval in front of it.

They live in vLLM's environment; without it these tests skip.
"""

import json
import os
import re
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import httpx
import pytest
from engines import VLLM, Running, await_health, running, started
from paths import ROOT
from polling import PATIENCE_SECONDS
from processes import Server, serving

from models.domain.stories import stories
from server.engines.supervisor import free_port

pytestmark = pytest.mark.vllm

TASK = """
task: stories
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["<|im_end|>"], max_gen_toks: 850, do_sample: false}
filter_list:
  - name: last-number
    filter:
      - {function: regex, regex_pattern: "(-?[0-9]+)", group_select: -1}
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


def tool(name: str) -> str:
    if VLLM is None:
        pytest.skip("no vLLM here: make test-vllm sets it and its tools up")
    return str(Path(VLLM).parent / name)


@contextmanager
def behind_router(folder: Path, policy: str) -> Generator[tuple[Server, list[Running]]]:
    """A gateway before a vllm-router of this policy, before two engines."""
    port = free_port()
    words = [tool("vllm-router"), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--prometheus-port", str(free_port()), "--policy", policy, "--worker-urls"]
    with ExitStack() as stack:
        engines = [stack.enter_context(running("embedded")) for _ in range(2)]
        words += [engine.url for engine in engines]
        process = stack.enter_context(started(words, log=folder / "router.log"))
        url = f"http://127.0.0.1:{port}"
        await_health(url, process, PATIENCE_SECONDS)
        yield stack.enter_context(serving("--upstream", url)), engines


def test_vllm_router_between_the_gateway_and_the_engines(tmp_path: Path) -> None:
    with behind_router(tmp_path, "round_robin") as (server, engines):
        assert httpx.get(f"{server.url}/ready").json()["budgets"] == "native"
        for number, story in zip(range(12), stories(3, "test"), strict=False):
            body = {
                "messages": [{"role": "user", "content": story.prompt}],
                "reasoning_effort": "high",
                "thinking_token_budget": 9,
                "stream": number % 2 == 0,
            }
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
            assert answer.status_code == 200
            assert '"thinking_tokens":9' in answer.text
        used = [engine.metric("generated") for engine in engines]
        assert min(used) > 0


def test_vllm_router_keeps_a_conversation_on_one_engine_by_its_session(tmp_path: Path) -> None:
    """Conversations that no client names: the gateway knows them by their answers."""
    with behind_router(tmp_path, "consistent_hash") as (server, engines):
        chosen: list[int] = []
        for story in islice(stories(5, "test"), 12):
            messages: list[dict[str, str]] = []
            used: set[int] = set()
            for prompt in (story.prompt, "Are you sure?", "Thank you."):
                messages.append({"role": "user", "content": prompt})
                before = [engine.metric("generated") for engine in engines]
                body = {"messages": messages, "reasoning_effort": "none"}
                answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
                messages.append(answer.json()["choices"][0]["message"])
                after = [engine.metric("generated") for engine in engines]
                (grown,) = (number for number in range(2) if after[number] > before[number])
                used.add(grown)
            assert len(used) == 1
            chosen += used
        assert set(chosen) == {0, 1}


def test_lm_evaluation_harness(tmp_path: Path) -> None:
    words = [tool("lm_eval"), "run", "--model", "local-chat-completions", "--tasks", "stories"]
    rows = [
        json.dumps({"prompt": story.prompt, "answer": str(story.answer)})
        for _, story in zip(range(60), stories(9, "test"), strict=False)
    ]
    (tmp_path / "stories.jsonl").write_text("\n".join(rows))
    task = TASK.replace("FILE", str(tmp_path / "stories.jsonl"))
    (tmp_path / "stories.yaml").write_text(task)
    with serving() as server:
        url = f"{server.url}/v1/chat/completions"
        arguments = f"model=demo,base_url={url},num_concurrent=4,tokenizer_backend=None"
        words += [
            "--model_args",
            arguments,
            "--include_path",
            str(tmp_path),
            "--apply_chat_template",
        ]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "unused"}
        evaluation = subprocess.run(
            [*words, "--output_path", str(tmp_path / "out")],
            cwd=ROOT,
            env={**os.environ, **offline, "HF_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    assert evaluation.returncode == 0, evaluation.stderr[-2000:]
    accuracy = re.search(r"exact_match\|\S*\s*\|\s*([0-9.]+)", evaluation.stdout)
    assert accuracy, evaluation.stdout
    assert float(accuracy[1]) > 0.9
