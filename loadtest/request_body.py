"""The bodies of a load test's requests: chat completions, invalid ones, and tool results."""

import json
import zlib
from typing import Any

from loadtest.plan import Plan
from loadtest.problem import Problem
from loadtest.workload import Task

_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look up what is on record.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_INVALID_BODIES = (b'{"messages": [', b'{"messages": 5}', b"[]")


def request_body(plan: Plan, task: Task, messages: list[dict[str, Any]]) -> bytes:
    """A streaming chat completion with usage."""
    fields: dict[str, Any] = {
        "model": task.arm.model or plan.model,
        "messages": messages,
        "reasoning_effort": task.arm.effort,
        "stream": True,
        "stream_options": {"include_usage": True},
        "thinking_token_budget": task.budget,
        "temperature": plan.temperature,
        "max_tokens": plan.max_tokens,
        "tools": [_TOOL] if plan.problems.tool_results else None,
    }
    return json.dumps({name: field for name, field in fields.items() if field is not None}).encode()


def malformed_body(problem: Problem) -> bytes:
    """A body that every server must refuse; the problem determines which."""
    return _INVALID_BODIES[zlib.crc32(problem.problem_id.encode()) % len(_INVALID_BODIES)]


def tool_call_messages(call_id: str, content: str, problem: Problem) -> list[dict[str, Any]]:
    """An agent's step: the assistant calls a tool, whose result repeats the question."""
    function = {"name": "look_up", "arguments": "{}"}
    call = {"id": call_id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": problem.prompt},
    ]
