"""Sends conversations and measures their requests, as clients of every kind."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import httpx

from loadtest.error_text import error_message, root_cause
from loadtest.judge import judge
from loadtest.plan import Plan
from loadtest.preflight import request_headers
from loadtest.problem import Problem
from loadtest.record import Record
from loadtest.request_body import malformed_body, request_body, tool_call_messages
from loadtest.scorer import Scorer
from loadtest.stream import note_error, parse_chunk, read_events
from loadtest.workload import Task

_REFUSAL_STATUSES = (400, 422)
_SMALL_WINDOW = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
"""A slow client's receive buffer, so that the server notices that the client reads slowly."""


class Sender:
    """Sends a plan's requests; its context holds the connections.

    Args:
        plan: the run's.
        connections: the maximum number; None is no limit.

    Raises:
        PlanError: the environment variable with the API key is not set.
    """

    def __init__(self, plan: Plan, connections: int | None) -> None:
        self._plan = plan
        self._run_id = secrets.token_hex(4)
        self._request_count = 0
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        options: dict[str, Any] = {
            "headers": request_headers(plan),
            "timeout": plan.timeout_seconds,
        }
        self._http = httpx.AsyncClient(**options, limits=limits)
        transport = httpx.AsyncHTTPTransport(limits=limits, socket_options=_SMALL_WINDOW)
        self._slow_http = httpx.AsyncClient(**options, transport=transport)
        self._scorer = Scorer()

    async def __aenter__(self) -> "Sender":
        self._stack = AsyncExitStack()
        for resource in (self._http, self._slow_http, self._scorer):
            await self._stack.enter_async_context(resource)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run_conversation(
        self, task: Task, scheduled: float | None = None
    ) -> AsyncGenerator[Record]:
        """Send a conversation's requests in sequence, until one of them is not answered.

        Errors of the server are in the records; none is raised.

        Args:
            task: the conversation, and its arm and client.
            scheduled: time of the first request on the clock of `time.perf_counter`; None is
                now. Each further request follows the answer to the previous one.
        """
        conversation_id, turn = task.conversation[0].problem_id, 0
        messages: list[dict[str, Any]] = []
        for problem in task.conversation:
            if problem.system is not None:
                messages.append({"role": "system", "content": problem.system})
            messages.append({"role": "user", "content": problem.prompt})
            for call in range(self._plan.problems.tool_results + 1):
                record = Record(task.arm.name, problem.problem_id, task.budget, task.client, turn)
                record.conversation, record.difficulty = conversation_id, problem.difficulty
                record.offered_rate = task.offered_rate
                content = await self._request(record, task, problem, messages, scheduled)
                yield record
                if record.ended != "answer":
                    return
                scheduled, turn = None, turn + 1
                messages.append({"role": "assistant", "content": content})
                if call < self._plan.problems.tool_results:
                    messages[-1:] = tool_call_messages(f"call_{turn}", content, problem)

    async def _request(
        self,
        record: Record,
        task: Task,
        problem: Problem,
        messages: list[dict[str, Any]],
        scheduled: float | None,
    ) -> str:
        """Send a request and complete its record; returns the answer's text."""
        content = ""
        malformed = record.client == "malformed"
        body = malformed_body(problem) if malformed else request_body(self._plan, task, messages)
        self._request_count += 1
        record.request_id = f"load-{self._run_id}-{self._request_count}"
        now = time.perf_counter()
        record.scheduled_at = now if scheduled is None else scheduled
        record.start_delay = now - record.scheduled_at
        try:
            content = await self._send(record, task, body)
        except (httpx.TimeoutException, TimeoutError):
            record.error = "timeout"
        except httpx.RequestError as error:
            record.error, record.message = type(error).__name__, root_cause(error)
        record.latency = time.perf_counter() - record.scheduled_at
        if record.error is None and record.ended == "answer":
            judge(record, problem.answer, content, problem.prompt)
            if problem.check is not None:
                record.correct = await self._scorer.is_correct(problem, content)
        if record.error is not None:
            record.ended = "error"
        return content

    async def _send(self, record: Record, task: Task, body: bytes) -> str:
        http = self._slow_http if record.client == "slow" else self._http
        async with (
            asyncio.timeout(self._plan.timeout_seconds),
            http.stream(
                "POST",
                f"{task.arm.url or self._plan.url}/chat/completions",
                content=body,
                headers={"content-type": "application/json", "x-request-id": record.request_id},
            ) as response,
        ):
            record.status = response.status_code
            record.effort = response.headers.get("x-tops-effort")
            record.source = response.headers.get("x-tops-source")
            if record.client == "malformed":
                record.ended = "refused"
                if response.status_code not in _REFUSAL_STATUSES:
                    record.error = f"malformed, HTTP {response.status_code}"
            elif response.status_code != 200:
                record.error = f"HTTP {response.status_code}"
                record.message = error_message(await response.aread())
            else:
                return await self._read_stream(response, record)
        return ""

    async def _read_stream(self, response: httpx.Response, record: Record) -> str:
        """The answer's text; token counts, times and the error's class go into the record."""
        clients, content, events, complete = self._plan.clients, "", 0, False
        async for name, data, size in read_events(response):
            if record.client == "slow":
                await asyncio.sleep(size / clients.slow_bytes_per_second)
            if data == b"[DONE]":
                complete = True
                if record.client == "closing":
                    break
                continue
            if name == b"error":
                note_error(data, record)
                continue
            chunk = parse_chunk(data, record)
            if chunk is None:
                break
            content += chunk.text
            complete |= chunk.is_last
            if chunk.has_tokens:
                seconds = time.perf_counter() - record.scheduled_at
                record.note_tokens(seconds, chunk.has_answer_tokens)
            events += 1
            if record.client == "disconnecting" and events == clients.disconnect_after:
                record.ended = "disconnected"
                return content
        if not complete and record.error is None:
            record.error = "broken stream"
        return content
