"""The clients of a load test: what they say, how they take their answers, and what they measure."""

import asyncio
import json
import os
import secrets
import socket
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx

from loadtest.judge import judge
from loadtest.plan import Plan, PlanError
from loadtest.problems import Problem
from loadtest.record import Record
from loadtest.workload import Task

_KNOCK_SECONDS = 5
_MESSAGE = 200
_REFUSALS = (400, 422)
"""What a server tells who asks what cannot be answered."""

_SMALL_WINDOW = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
_TOKENS = ("content", "reasoning", "reasoning_content", "tool_calls")
"""The fields of a delta that the model's tokens are in."""

_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "What is on record.",
        "parameters": {"type": "object", "properties": {}},
    },
}


class TargetDown(Exception):  # noqa: N818 - named for what it is
    """There is nothing where a plan's requests are to go."""


async def knock(plan: Plan) -> None:
    """Find out whether the requests could be sent, before the first one is.

    Raises:
        TargetDown: nothing listens where they are to go.
        PlanError: the environment has no API key under the plan's name.
    """
    _headers(plan)
    async with httpx.AsyncClient(timeout=_KNOCK_SECONDS) as http:
        for url in sorted({arm.url or plan.url for arm in plan.arms}):
            try:
                await http.get(f"{url}/models")
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise TargetDown(f"nothing listens at {url} ({error or 'timeout'})") from error
            except httpx.RequestError:
                continue  # it is there; what it does with requests is to be measured


class Sender:
    """Sends a plan's requests; as a context it holds their connections.

    Raises:
        PlanError: the environment has no API key under the plan's name.
    """

    def __init__(self, plan: Plan, connections: int | None) -> None:
        self._plan = plan
        self._run = secrets.token_hex(4)
        self._sent = 0
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        usual: dict[str, Any] = {"headers": _headers(plan), "timeout": plan.timeout_seconds}
        self._http = httpx.AsyncClient(**usual, limits=limits)
        narrow = httpx.AsyncHTTPTransport(limits=limits, socket_options=_SMALL_WINDOW)
        self._narrow = httpx.AsyncClient(**usual, transport=narrow)

    async def __aenter__(self) -> "Sender":
        self._stack = AsyncExitStack()
        for http in (self._http, self._narrow):
            await self._stack.enter_async_context(http)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def converse(self, task: Task, due: float | None = None) -> AsyncGenerator[Record]:
        """Have a conversation, to its end or its first request that is not answered.

        Never raises for what the server does. `due` is when the first request is, on the clock of
        `time.perf_counter`; None means now. The others follow as soon as they can.
        """
        name, turn = task.conversation[0].problem_id, 0
        messages: list[dict[str, Any]] = []
        for problem in task.conversation:
            if problem.system is not None:
                messages.append({"role": "system", "content": problem.system})
            messages.append({"role": "user", "content": problem.prompt})
            for call in range(self._plan.problems.tool_results + 1):
                record = Record(task.arm.name, problem.problem_id, task.budget, task.client, turn)
                record.conversation, record.difficulty = name, problem.difficulty
                content = await self._measure(record, task, problem, messages, due)
                yield record
                if record.ended != "answer":
                    return
                due, turn = None, turn + 1
                messages.append({"role": "assistant", "content": content})
                if call < self._plan.problems.tool_results:
                    messages[-1:] = _tool_result(f"call_{turn}", content, problem)

    async def _measure(
        self,
        record: Record,
        task: Task,
        problem: Problem,
        messages: list[dict[str, Any]],
        due: float | None,
    ) -> str:
        """Make one streaming request; returns the answer's text."""
        plan, content = self._plan, ""
        http = self._narrow if record.client == "slow" else self._http
        body = _malformed(problem) if record.client == "malformed" else self._body(task, messages)
        self._sent += 1
        record.request_id = f"load-{self._run}-{self._sent}"
        sent = time.perf_counter()
        begun = sent if due is None else due
        record.at, record.late = begun, sent - begun
        try:
            async with (
                asyncio.timeout(plan.timeout_seconds),
                http.stream(
                    "POST",
                    f"{task.arm.url or plan.url}/chat/completions",
                    content=body,
                    headers={
                        "content-type": "application/json",
                        "x-request-id": record.request_id,
                    },
                ) as response,
            ):
                record.status = response.status_code
                record.effort = response.headers.get("x-tops-effort")
                record.source = response.headers.get("x-tops-source")
                if record.client == "malformed":
                    _refused(response, record)
                elif response.status_code != 200:
                    record.error = f"HTTP {response.status_code}"
                    record.message = _message(await response.aread())
                else:
                    content = await self._read(response, record, begun)
        except (httpx.TimeoutException, TimeoutError):
            record.error = "timeout"
        except httpx.RequestError as error:
            record.error, record.message = type(error).__name__, _cause(error)
        record.latency = time.perf_counter() - begun
        if record.error is None and record.ended == "answer":
            judge(record, problem.answer, content)
        if record.error is not None:
            record.ended = "error"
        return content

    def _body(self, task: Task, messages: list[dict[str, Any]]) -> bytes:
        plan = self._plan
        body: dict[str, Any] = {
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
        return json.dumps(
            {name: value for name, value in body.items() if value is not None}
        ).encode()

    async def _read(self, response: httpx.Response, record: Record, begun: float) -> str:
        """The answer's text; token counts, times and the error class go into the record."""
        clients, content, events, done = self._plan.clients, "", 0, False
        async for line in _lines(response):
            if record.client == "slow":
                await asyncio.sleep(len(line) / clients.slow_bytes)
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                done = True
                continue
            try:
                answer, tokens = _note(json.loads(data), record)
            except (ValueError, LookupError, TypeError, AttributeError):
                record.error = "broken chunk"
                break
            content += answer
            if record.ttft is None and tokens:
                record.ttft = time.perf_counter() - begun
            events += 1
            if record.client == "disconnecting" and events == clients.leave_after:
                record.ended = "left"
                return content
        if not done and record.error is None:
            record.error = "broken stream"
        return content


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a stream. Unlike httpx's they do not end at what JSON's strings may have."""
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    yield rest


def _headers(plan: Plan) -> dict[str, str]:
    if plan.api_key_env is None:
        return {}
    if not (key := os.environ.get(plan.api_key_env)):
        raise PlanError(f"api_key_env: the environment has no {plan.api_key_env}")
    return {"authorization": f"Bearer {key}"}


def _message(body: bytes | dict[str, Any]) -> str:
    """What a server says of an error: OpenAI's message, or the beginning of whatever it is."""
    try:
        found = json.loads(body) if isinstance(body, bytes) else body
        return _short(str(found["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return _short(raw.decode(errors="replace"))


def _cause(error: BaseException) -> str | None:
    """What is at the bottom of an error: the system's word, where it has one."""
    several: Sequence[BaseException] = getattr(error, "exceptions", ())
    below = several[0] if several else error.__cause__ or error.__context__
    return _cause(below) if below else _short(str(error)) or None


def _short(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE]


def _malformed(problem: Problem) -> bytes:
    """A request that no server may answer; which, is the problem's."""
    bodies = (b'{"messages": [', b'{"messages": 5}', b"[]")
    return bodies[zlib.crc32(problem.problem_id.encode()) % len(bodies)]


def _refused(response: httpx.Response, record: Record) -> None:
    record.ended = "refused"
    if response.status_code not in _REFUSALS:
        record.error = f"malformed, HTTP {response.status_code}"


def _tool_result(call: str, content: str, problem: Problem) -> list[dict[str, Any]]:
    """An agent's step: the assistant calls a tool, which says the question again."""
    named = {"id": call, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": content, "tool_calls": [named]},
        {"role": "tool", "tool_call_id": call, "content": problem.prompt},
    ]


def _note(chunk: dict[str, Any], record: Record) -> tuple[str, bool]:
    """Note what a chunk counts; returns the answer in it, and whether any token is.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is not what the API has.
    """
    if chunk.get("error"):
        record.error = "error event"
        record.message = _message(chunk)
    answer, tokens = "", False
    for choice in chunk.get("choices", []):
        delta: dict[str, Any] = choice.get("delta") or {}
        answer += delta.get("content") or ""
        tokens |= any(delta.get(name) for name in _TOKENS)
    if usage := chunk.get("usage"):
        record.completion_tokens = _count(usage["completion_tokens"])
        details: dict[str, Any] = usage.get("completion_tokens_details") or {}
        thinking = details.get("reasoning_tokens")
        record.thinking_tokens = None if thinking is None else _count(thinking)
    tops: dict[str, Any] = chunk.get("tops") or {}
    record.budget_hit = tops.get("budget_hit", record.budget_hit)
    return answer, tokens


def _count(told: object) -> int:
    if not isinstance(told, int):
        raise TypeError(f"{told!r} is no count of tokens")
    return told
