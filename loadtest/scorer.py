"""Judges answers that need a scorer of their own, reasoning-gym's, by `tops judge` as a child.

The child runs scorers in a sandbox. It starts with the first such answer, and answers are judged
after they are measured: latencies do not include it.
"""

import asyncio
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Any

from child_python import path_variables, python_command
from loadtest.plan import PlanError
from loadtest.problem import Problem

_LINE_BYTES = 1 << 24
"""Of a verdict at most; asyncio's own limit is 64 KiB."""

_STOP_SECONDS = 10

_ENDED = {"error": "tops judge has ended, see its message above"}


async def check_scorer(problems: Iterable[Problem]) -> None:
    """Have the first problem with a scorer judged, if any has one.

    Raises:
        PlanError: its scorer cannot run here; the message says what is missing.
    """
    scored = next((problem for problem in problems if problem.check is not None), None)
    if scored is None:
        return
    async with Scorer() as scorer:
        verdict = await scorer.verdict(scored, "")
    if verdict.get("correct") is None:
        raise PlanError(f"{scored.problem_id} cannot be judged: {verdict.get('error')}")


class Scorer:
    """A child process that judges; its context ends it."""

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Scorer":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None:
            return
        assert self._process.stdin
        assert self._reading
        self._process.stdin.close()  # the child ends at the end of its input
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def is_correct(self, problem: Problem, content: str) -> bool | None:
        """Whether an answer is right; None where the child cannot say."""
        return (await self.verdict(problem, content)).get("correct")

    async def verdict(self, problem: Problem, content: str) -> dict[str, Any]:
        """The child's verdict: `correct`, or why there is none in `error`."""
        process = await self._started()
        assert process.stdin
        assert self._reading
        if self._reading.done():
            return _ENDED
        number = next(self._numbers)
        line = {"id": number, "response": content, "reasoning_gym": problem.check}
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        process.stdin.write(f"{json.dumps(line)}\n".encode())
        with suppress(BrokenPipeError, ConnectionResetError):  # the child ends, which _read sees
            await process.stdin.drain()
        return await future

    async def _started(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    *python_command("tops", "judge"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    env={**os.environ, **path_variables()},
                    start_new_session=True,  # Ctrl-C is ours: answers in flight are still judged
                    limit=_LINE_BYTES,
                )
                self._reading = asyncio.create_task(self._read(self._process))
            return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        try:
            while line := await process.stdout.readline():
                verdict = json.loads(line)
                future = self._waiting.pop(verdict["id"], None)
                if future is not None and not future.done():  # a cancelled request waits no more
                    future.set_result(verdict)
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_result(_ENDED)
            self._waiting.clear()
