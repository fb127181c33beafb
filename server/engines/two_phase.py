"""A thinking budget on an engine that has none: cut the reasoning at the budget, then continue.

Phase one streams, and its thinking tokens are counted; when the next would exceed the budget, that
stream is closed. Phase two has the engine continue from the reasoning so far, closed with a
transition sentence. Both appear as a single stream with one id and one usage. For models whose
reasoning block is `<think>...</think>`.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import orjson

from server.engines.assemble import assemble
from server.engines.reply import Reply, Sink
from server.engines.usage import read_usage
from server.errors import EngineFailed
from server.http.sse import encode, events, payload

TRANSITION = "\nThat is all the time there is for thinking. The answer, from what is known so far:"

Post = Callable[[dict[str, Any]], Reply]
"""Makes the reply to a chat body, which is sent when the reply begins."""


class TwoPhase:
    """One chat completion whose thinking is limited to a budget; a `Reply`.

    Args:
        post: sends a chat body to the engine.
        body: the chat body, without a budget.
        budget: thinking tokens.
        resume: fields that make the engine continue the last message.
    """

    def __init__(
        self, post: Post, body: dict[str, Any], budget: int, resume: dict[str, Any]
    ) -> None:
        self._post = post
        self._budget = budget
        self._resume = resume
        self.is_stream = bool(body.get("stream"))
        options = {"include_usage": True, "continuous_usage_stats": True}
        self._body = {**body, "stream": True, "stream_options": options}
        self._reasoning = ""
        self._thinking_tokens = 0
        self._prompt_tokens = 0
        self._common_fields: dict[str, Any] = {}
        self._reasoning_field = "reasoning"
        self._events = self._both_phases()
        self._buffered: bytes
        self._refusal: tuple[int, bytes] | None = None
        self.cut = False
        self.retry_after: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._refusal[0] if self._refusal else 200

    async def begin(self) -> None:
        """Wait for a stream's first event, or for all of an answer that is not a stream.

        Raises:
            EngineError: the engine failed.
        """
        if self.is_stream:
            self._buffered = await anext(self._events, b"")
        else:
            try:
                self._buffered = orjson.dumps(await assemble(self._events))
            except EngineFailed:
                if self._refusal is None:
                    raise
        if self._refusal is not None:
            self.is_stream, self._buffered = False, self._refusal[1]

    async def next_chunk(self) -> bytes:
        """The next event; empty at the end."""
        chunk, self._buffered = self._buffered, b""
        return chunk or await anext(self._events, b"")

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining events to `sink`."""
        while event := await self.next_chunk():
            await sink(event)

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        return self._buffered

    async def aclose(self) -> None:
        """End the request at any point, in either phase."""
        await self._events.aclose()

    async def _both_phases(self) -> AsyncGenerator[bytes]:
        """The events of a single stream, with one usage event before its end."""
        async with aclosing(self._post(self._body)) as reply:
            await reply.begin()
            if reply.status != 200 or not reply.is_stream:
                self._refusal = (reply.status, await reply.read())
                self.retry_after = reply.retry_after
                return
            async for event in events(reply.next_chunk):
                chunk = payload(event)
                if chunk is not None and self._exceeds_budget(chunk):
                    self.cut = True
                    break
                yield event if chunk is None else _without_running_usage(chunk)
            else:
                return
        yield encode(self._chunk({self._reasoning_field: TRANSITION}))
        async with aclosing(self._post(self._second_body())) as reply:
            await reply.begin()
            if reply.status != 200 or not reply.is_stream:
                raise EngineFailed(
                    f"the engine refused to continue after the budget (HTTP {reply.status})"
                )
            async for event in events(reply.next_chunk):
                chunk = payload(event)
                yield event if chunk is None else encode(self._as_answer(chunk))

    def _exceeds_budget(self, chunk: dict[str, Any]) -> bool:
        """Count a chunk of phase one; whether its reasoning is beyond the budget."""
        self._common_fields = self._common_fields or {
            key: value for key, value in chunk.items() if key not in ("choices", "usage", "error")
        }
        usage = read_usage(chunk)
        if usage is not None:
            self._prompt_tokens = usage.prompt
        delta = _delta(chunk)
        reasoning = delta.get("reasoning") or delta.get("reasoning_content")
        if not reasoning:
            return False
        if not delta.get("reasoning"):
            self._reasoning_field = "reasoning_content"
        if usage is None:
            thinking_tokens = self._thinking_tokens + 1
        else:  # up to here, all completion tokens are thinking tokens
            thinking_tokens = usage.completion if usage.thinking is None else usage.thinking
        if thinking_tokens > self._budget:
            return True
        self._thinking_tokens = thinking_tokens
        self._reasoning += reasoning
        return False

    def _chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._common_fields, "choices": [choice]}

    def _second_body(self) -> dict[str, Any]:
        """The body of phase two: the closed reasoning block as a message to continue."""
        closed = f"<think>\n{self._reasoning.strip()}{TRANSITION}\n</think>\n\n"
        body: dict[str, Any] = {**self._body, **self._resume}
        body["messages"] = [*body["messages"], {"role": "assistant", "content": closed}]
        body["stream_options"] = {"include_usage": True}
        for name in ("max_tokens", "max_completion_tokens"):
            if body.get(name) is not None:
                body[name] = max(1, body[name] - self._thinking_tokens)
        return body

    def _as_answer(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """A chunk of phase two as a chunk of the single stream; all of its text is answer."""
        delta = _delta(chunk)
        if delta:
            answer = {
                key: value
                for key, value in delta.items()
                if key not in ("role", "reasoning", "reasoning_content")
            }
            reasoning = delta.get("reasoning") or delta.get("reasoning_content") or ""
            if text := reasoning + (delta.get("content") or ""):
                answer["content"] = text
            chunk = {**chunk, "choices": [{**chunk["choices"][0], "delta": answer}]}
        usage = read_usage(chunk)
        if usage is not None:
            chunk = {**chunk, "usage": self._total_usage(usage.completion)}
        return {**chunk, **self._common_fields}

    def _total_usage(self, answer_tokens: int) -> dict[str, Any]:
        """The prompt once, and the tokens of both phases; cut reasoning is not counted."""
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._thinking_tokens + answer_tokens,
            "total_tokens": self._prompt_tokens + self._thinking_tokens + answer_tokens,
            "completion_tokens_details": {"reasoning_tokens": self._thinking_tokens},
        }


def _without_running_usage(chunk: dict[str, Any]) -> bytes:
    """An event without the running usage, which the client did not ask for."""
    if chunk.get("choices"):
        chunk = {key: value for key, value in chunk.items() if key != "usage"}
    return encode(chunk)


def _delta(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    return (choices[0].get("delta") or {}) if choices else {}
