"""One request over HTTP, measured."""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import httpx

from loadtest.plan import Plan
from loadtest.workload import Task

_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass
class Record:
    """What one request did; times in seconds. `error` is its class, None where an answer came."""

    arm: str
    problem_id: str
    budget: int | None
    latency: float = 0.0
    ttft: float | None = None
    effort: str | None = None
    source: str | None = None
    budget_hit: bool | None = None
    thinking_tokens: int | None = None
    completion_tokens: int | None = None
    correct: bool = False
    answered: bool = False
    error: str | None = None


async def measure(http: httpx.AsyncClient, plan: Plan, task: Task) -> Record:
    """Make one streaming request; never raises for what the server does."""
    record = Record(task.arm.name, task.problem.problem_id, task.budget)
    body: dict[str, Any] = {
        "model": plan.model,
        "messages": [{"role": "user", "content": task.problem.prompt}],
        "reasoning_effort": task.arm.effort,
        "stream": True,
        "stream_options": {"include_usage": True},
        "thinking_token_budget": task.budget,
        "temperature": plan.temperature,
        "max_tokens": plan.max_tokens,
    }
    body = {name: value for name, value in body.items() if value is not None}
    begun = time.perf_counter()
    try:
        async with http.stream("POST", f"{plan.url}/chat/completions", json=body) as response:
            if response.status_code != 200:
                record.error = f"HTTP {response.status_code}"
            else:
                record.effort = response.headers.get("x-tops-effort")
                record.source = response.headers.get("x-tops-source")
                await _read(response, record, task, begun)
    except httpx.TimeoutException:
        record.error = "timeout"
    except httpx.TransportError as error:
        record.error = type(error).__name__
    record.latency = time.perf_counter() - begun
    return record


async def _read(response: httpx.Response, record: Record, task: Task, begun: float) -> None:
    content, done = "", False
    async for line in response.aiter_lines():
        if not line.startswith("data: "):
            continue
        if record.ttft is None:
            record.ttft = time.perf_counter() - begun
        if line == "data: [DONE]":
            done = True
            continue
        chunk: dict[str, Any] = json.loads(line[6:])
        if "error" in chunk:
            record.error = "error event"
        for choice in chunk.get("choices", []):
            content += choice["delta"].get("content") or ""
        if usage := chunk.get("usage"):
            record.completion_tokens = usage["completion_tokens"]
            details: dict[str, Any] = usage.get("completion_tokens_details") or {}
            record.thinking_tokens = details.get("reasoning_tokens")
        tops: dict[str, Any] = chunk.get("tops") or {}
        record.budget_hit = tops.get("budget_hit", record.budget_hit)
    if not done and record.error is None:
        record.error = "broken stream"
    numbers = _NUMBER.findall(content)
    record.answered = bool(content.strip())
    record.correct = bool(numbers) and _same(numbers[-1], task.problem.answer)


def _same(given: str, gold: str) -> bool:
    try:
        return float(given.replace(",", "")) == float(gold.replace(",", ""))
    except ValueError:
        return given == gold
