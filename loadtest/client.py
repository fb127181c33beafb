"""One request over HTTP, measured."""

import json
import re
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from loadtest.plan import Plan
from loadtest.workload import Task

_NUMBER = re.compile(
    r"(?<![A-Za-z\d.])[-\u2212]?(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+|(?=\.\d))(?:\.\d+)?(?!\d)"
)


@dataclass
class Record:
    """What one request did; times in seconds. `error` is its class, None where an answer came.

    `at` is when it was due, on the clock of `time.perf_counter`. `latency` and `ttft` (to the first
    token of reasoning or answer) count from then, not from when it was sent: `late` is the
    difference.
    """

    arm: str
    problem_id: str
    budget: int | None
    at: float = 0.0
    latency: float = 0.0
    late: float = 0.0
    ttft: float | None = None
    effort: str | None = None
    source: str | None = None
    budget_hit: bool | None = None
    thinking_tokens: int | None = None
    completion_tokens: int | None = None
    correct: bool = False
    answered: bool = False
    error: str | None = None

    @property
    def tpot(self) -> float | None:
        """Seconds per completion token after the first; None where that is not known."""
        if self.ttft is None or (self.completion_tokens or 0) < 2:
            return None
        return (self.latency - self.ttft) / ((self.completion_tokens or 0) - 1)


async def measure(
    http: httpx.AsyncClient, plan: Plan, task: Task, due: float | None = None
) -> Record:
    """Make one streaming request; never raises for what the server does.

    `due` is on the clock of `time.perf_counter`; None means now.
    """
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
    sent = time.perf_counter()
    begun = sent if due is None else due
    record.at, record.late = begun, sent - begun
    try:
        async with http.stream("POST", f"{plan.url}/chat/completions", json=body) as response:
            if response.status_code != 200:
                record.error = f"HTTP {response.status_code}"
            else:
                record.effort = response.headers.get("x-tops-effort")
                record.source = response.headers.get("x-tops-source")
                content = await _read(response, record, begun)
                _judge(record, task, content)
    except httpx.TimeoutException:
        record.error = "timeout"
    except httpx.RequestError as error:
        record.error = type(error).__name__
    record.latency = time.perf_counter() - begun
    return record


async def _read(response: httpx.Response, record: Record, begun: float) -> str:
    """The answer's text; token counts, times and the error class go into the record."""
    content, done = "", False
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            done = True
            continue
        try:
            reasoning, answer = _note(json.loads(data), record)
        except (ValueError, LookupError, TypeError, AttributeError):
            record.error = "broken chunk"
            break
        content += answer
        if record.ttft is None and (reasoning or answer):
            record.ttft = time.perf_counter() - begun
    if not done and record.error is None:
        record.error = "broken stream"
    return content


def _note(chunk: dict[str, Any], record: Record) -> tuple[str, str]:
    """Note what a chunk counts; returns its reasoning and its answer."""
    if "error" in chunk:
        record.error = "error event"
    reasoning = answer = ""
    for choice in chunk.get("choices", []):
        delta: dict[str, Any] = choice.get("delta") or {}
        reasoning += delta.get("reasoning") or delta.get("reasoning_content") or ""
        answer += delta.get("content") or ""
    if usage := chunk.get("usage"):
        record.completion_tokens = usage["completion_tokens"]
        details: dict[str, Any] = usage.get("completion_tokens_details") or {}
        record.thinking_tokens = details.get("reasoning_tokens")
    tops: dict[str, Any] = chunk.get("tops") or {}
    record.budget_hit = tops.get("budget_hit", record.budget_hit)
    return reasoning, answer


def _judge(record: Record, task: Task, content: str) -> None:
    """An answer that cannot be counted is an error too: no silent zero in a table."""
    record.answered = bool(content.strip())
    given = last_number(content)
    record.correct = given is not None and given == last_number(task.problem.answer)
    if record.error is None and record.completion_tokens is None:
        record.error = "no usage"
    elif record.error is None and task.budget is not None and record.thinking_tokens is None:
        record.error = "no reasoning_tokens"


def last_number(text: str) -> Decimal | None:
    """The last number in a text; signs, decimals and thousands separators are understood."""
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("\u2212", "-")) if found else None
