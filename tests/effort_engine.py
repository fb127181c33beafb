"""A scripted engine whose thinking depends on the effort as a table says, and on the prompt."""

import asyncio
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from scripted_engine import ScriptedEngine


class EffortEngine(ScriptedEngine):
    """Thinks `tokens[effort]` times a factor of the prompt's.

    Equal thoughts have equal texts, whatever the effort. `efforts` has those of all questions.
    """

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self.tokens = tokens
        self.efforts: list[str] = []
        super().__init__()

    async def do_complete(self, _: Any, writer: asyncio.StreamWriter) -> None:
        body = self.bodies[-1]
        effort = body.get("reasoning_effort", "high")
        self.efforts.append(effort)
        question = body["messages"][-1]["content"]
        thinking = self.tokens[effort] * len(question) // 100
        limit = body.get("max_tokens", 10_000)
        cut = thinking >= limit
        thinking = min(thinking, limit)
        budget = body.get("thinking_token_budget")
        if budget is not None and thinking > budget:
            thinking, cut = budget, False
        message = {"reasoning": f"hm {thinking} of {question}", "content": None if cut else "60"}
        usage = {
            "prompt_tokens": 9,
            "completion_tokens": thinking + (0 if cut else 5),
            "completion_tokens_details": {"reasoning_tokens": thinking},
        }
        reason = "length" if cut else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        await self._respond(writer, json.dumps({"choices": [choice], "usage": usage}).encode())


@contextmanager
def effort_engine(**tokens: int) -> Generator[EffortEngine]:
    engine = EffortEngine(tokens)
    try:
        yield engine
    finally:
        engine.stop()
