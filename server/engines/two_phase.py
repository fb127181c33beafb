"""A thinking budget on an engine that has none: stop at the budget, close the block, go on.

The engine streams, its thinking tokens are counted, and when the next would exceed the budget the
stream is left. A second request has it continue from the thought so far, closed with a transition
sentence, and its answer goes on in the first one's stream: same id, one usage. For models whose
reasoning block is `<think>...</think>`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import orjson

from server.engines.reply import Reply, Sink
from server.engines.usage import read_usage
from server.errors import EngineFailed
from server.http.sse import encode, events, is_done, payload

TRANSITION = "\nThat is all the time there is for thinking. The answer, from what is known so far:"


Post = Callable[[dict[str, Any]], Reply]
"""Makes a request to the engine of a chat body."""


class TwoPhase:
    """One chat completion whose thinking is held to a budget; a reply like any other.

    Args:
        post: reaches the engine.
        body: the chat body, without a budget.
        budget: thinking tokens.
        resume: fields that make the engine go on with the last message.
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
        self._thought = ""
        self._spent = 0
        self._head: dict[str, Any] = {}
        self._prompt = 0
        self._stream = self._both()
        self._begun = b""
        self._refusal: tuple[int, bytes] | None = None
        self._thinks_in = "reasoning"
        self.cut = False
        self.retry_after: str | None = None

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._refusal[0] if self._refusal else 200

    async def begin(self) -> None:
        """Wait for the first event, or for all of an answer that is no stream.

        Raises:
            EngineError: the engine failed.
        """
        if self.is_stream:
            self._begun = await anext(self._stream, b"")
        else:
            try:
                self._begun = orjson.dumps(await assemble(self._stream))
            except EngineFailed:
                if self._refusal is None:
                    raise
        if self._refusal is not None:
            self.is_stream, self._begun = False, self._refusal[1]

    async def next_chunk(self) -> bytes:
        """The next event; empty at the end."""
        begun, self._begun = self._begun, b""
        return begun or await anext(self._stream, b"")

    async def stream_to(self, sink: Sink) -> None:
        """Give all events that are still to come to `sink`."""
        while event := await self.next_chunk():
            await sink(event)

    async def read(self) -> bytes:
        """The whole body."""
        return self._begun

    async def aclose(self) -> None:
        """Stop, wherever it is."""
        await self._stream.aclose()

    async def _both(self) -> AsyncGenerator[bytes]:
        """The events of one stream, with one usage event before its end."""
        async with aclosing(self._post(self._body)) as reply:
            await reply.begin()
            if reply.status != 200 or not reply.is_stream:
                self._refusal = (reply.status, await reply.read())
                self.retry_after = reply.retry_after
                return
            async for event in events(reply.next_chunk):
                chunk = payload(event)
                if chunk is not None and self._exceeds(chunk):
                    self.cut = True
                    break
                yield event if chunk is None else _without_running_usage(chunk)
            else:
                return
        yield encode(self._chunk({self._thinks_in: TRANSITION}))
        async with aclosing(self._post(self._continuing())) as reply:
            await reply.begin()
            if reply.status != 200 or not reply.is_stream:
                refused = f"the engine refused to go on after the budget (HTTP {reply.status})"
                raise EngineFailed(refused)
            async for event in events(reply.next_chunk):
                chunk = payload(event)
                yield event if chunk is None else encode(self._joined(chunk))

    def _exceeds(self, chunk: dict[str, Any]) -> bool:
        """Note a chunk of the first phase; whether it has thinking beyond the budget."""
        self._head = self._head or {
            key: value for key, value in chunk.items() if key not in ("choices", "usage", "error")
        }
        usage = read_usage(chunk)
        if usage is not None:
            self._prompt = usage.prompt
        delta = _delta(chunk)
        thought = delta.get("reasoning") or delta.get("reasoning_content")
        if not thought:
            return False
        if not delta.get("reasoning"):
            self._thinks_in = "reasoning_content"
        if usage is None:
            spent = self._spent + 1
        else:  # so far all that was generated is thinking
            spent = usage.completion if usage.thinking is None else usage.thinking
        if spent > self._budget:
            return True
        self._spent, self._thought = spent, self._thought + thought
        return False

    def _chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._head, "choices": [choice]}

    def _continuing(self) -> dict[str, Any]:
        """The second phase's body: the thought, closed, as a message to go on with."""
        closed = f"<think>\n{self._thought.strip()}{TRANSITION}\n</think>\n\n"
        body: dict[str, Any] = {**self._body, **self._resume}
        body["messages"] = [*body["messages"], {"role": "assistant", "content": closed}]
        body["stream_options"] = {"include_usage": True}
        for name in ("max_tokens", "max_completion_tokens"):
            if body.get(name) is not None:
                body[name] = max(1, body[name] - self._spent)
        return body

    def _joined(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """A chunk of the second phase, as one of the first one's stream; all its text is answer."""
        delta = _delta(chunk)
        if delta:
            answer = {
                key: value
                for key, value in delta.items()
                if key not in ("role", "reasoning", "reasoning_content")
            }
            thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
            if text := thought + (delta.get("content") or ""):
                answer["content"] = text
            chunk = {**chunk, "choices": [{**chunk["choices"][0], "delta": answer}]}
        usage = read_usage(chunk)
        if usage is not None:
            chunk = {**chunk, "usage": self._total(usage.completion)}
        return {**chunk, **self._head}

    def _total(self, answered: int) -> dict[str, Any]:
        """One usage: the prompt once, what either phase generated, the thinking that was kept."""
        return {
            "prompt_tokens": self._prompt,
            "completion_tokens": self._spent + answered,
            "total_tokens": self._prompt + self._spent + answered,
            "completion_tokens_details": {"reasoning_tokens": self._spent},
        }


async def assemble(stream: AsyncIterator[bytes]) -> dict[str, Any]:
    """A chat completion from the events of a stream with a single choice.

    Raises:
        EngineFailed: the stream broke off or told an error.
    """
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": None}
    scored: list[Any] = []
    done = False
    async for event in stream:
        chunk = payload(event)
        if chunk is None:
            done = done or is_done(event)
            continue
        if chunk.get("error"):
            raise EngineFailed("the engine failed while generating")
        whole |= {key: value for key, value in chunk.items() if key != "choices"}
        for part in cast("list[dict[str, Any]]", chunk.get("choices") or []):
            _extend(message, part.get("delta") or {})
            logprobs: dict[str, Any] = part.get("logprobs") or {}
            scored += logprobs.get("content") or []
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    if not done:
        raise EngineFailed("the engine's stream ended before it was complete")
    choice["logprobs"] = {"content": scored} if scored else None
    return {**whole, "object": "chat.completion", "choices": [choice]}


def _extend(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in cast("list[dict[str, Any]]", value or []):
                _extend_call(message.setdefault("tool_calls", []), call)
        elif name in ("content", "reasoning", "reasoning_content") and isinstance(value, str):
            message[name] = (message.get(name) or "") + value


def _extend_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index: int = part.get("index", 0)
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    function: dict[str, Any] = part.get("function") or {}
    call["id"] = part.get("id") or call["id"]
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""


def _without_running_usage(chunk: dict[str, Any]) -> bytes:
    """An event without the usage so far, which only we asked for."""
    if chunk.get("choices"):
        chunk = {key: value for key, value in chunk.items() if key != "usage"}
    return encode(chunk)


def _delta(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    return (choices[0].get("delta") or {}) if choices else {}
