"""A thinking budget on an engine that has none: cut the reasoning at the budget, then continue.

Phase one streams, and its thinking tokens are counted; when the next would exceed the budget, that
stream is closed. Of a chunk of several tokens, the part that the budget has room for is kept. Phase
two has the engine continue from the reasoning so far, closed with a transition sentence; also where
phase one ended without an answer. Both appear as a single stream with one id and one usage.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

from server.engines import chat_chunk
from server.engines.assemble import assemble
from server.engines.continuing import chat
from server.engines.continuing.api import Kind
from server.engines.continuing.booking import Book, Booking
from server.engines.continuing.ending import end_kind
from server.engines.continuing.prefix import TRANSITION, closed_block, shortened
from server.engines.reasoning_counter import Method, ReasoningCounter, Tokenize
from server.engines.reply import ENDING_SECONDS, Reply, Sink, give
from server.engines.usage import Usage, read_usage
from server.errors import EngineError, EngineFailed
from server.http.json_codec import dumps
from server.http.sse import encode, events, is_done, payload

Post = Callable[[dict[str, Any]], Reply]
"""Makes the reply to a chat body, which is sent when the reply begins."""

_PER_CHUNK = {"include_usage": True, "continuous_usage_stats": True}


class TwoPhase:
    """One chat completion whose thinking is limited to a budget; a `Reply`.

    Args:
        post: sends a chat body to the engine.
        body: the chat body, without a budget.
        budget: thinking tokens.
        resume: fields that make the engine continue the last message.
        tokenize: counts a text on the engine; None where the engine cannot.
        reserve: tokens of a full context that the answer needs.
        adds_logprobs: whether the log-probabilities are requested to count by, and not passed on
            unless the client wants them.
        book: see Booking.
    """

    def __init__(
        self,
        post: Post,
        body: dict[str, Any],
        budget: int,
        resume: dict[str, Any],
        tokenize: Tokenize | None = None,
        reserve: int = 1,
        adds_logprobs: bool = False,
        book: Book | None = None,
    ) -> None:
        self._post = post
        self._resume = resume
        self._reserve = reserve
        self._book = book
        self._budget = budget
        self._counter = ReasoningCounter(budget, tokenize)
        self.is_stream = bool(body.get("stream"))
        self._body = {**body, "stream": True, "stream_options": _PER_CHUNK}
        self._hides_logprobs = adds_logprobs and not body.get("logprobs")
        if adds_logprobs:
            self._body["logprobs"] = True
        self._usage: Usage | None = None
        self._closing_tokens = 0
        self._first_tokens = 0
        self._common_fields: dict[str, Any] = {}
        self._reasoning_field = "reasoning"
        self._refused = ""
        """The reasoning of the chunk that would exceed the budget."""

        self._answered = False
        self._end: Kind | None = None
        """Of a phase one that ended without an answer."""

        self._finish: list[bytes] = []
        """The events of that end."""

        self._booking: Booking
        self._events = self._both_phases()
        self._buffered: bytes
        self._refusal: tuple[int, bytes] | None = None
        self.cut = False
        self.retry_after: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._refusal[0] if self._refusal else 200

    @property
    def method(self) -> Method | None:
        """How the thinking tokens were counted; None where there were none."""
        return self._counter.method

    async def begin(self) -> None:
        """Wait for a stream's first event, or for all of an answer that is not a stream.

        Raises:
            EngineError: the engine failed.
        """
        if self.is_stream:
            self._buffered = await anext(self._events, b"")
        else:
            try:
                self._buffered = dumps(await assemble(self._events))
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
            await give(sink, event)

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
            phase_one = events(reply.next_chunk)
            async for event in phase_one:
                chunk = payload(event)
                if chunk is not None and await self._exceeds_budget(chunk):
                    self.cut = True
                    break
                if self._ends_unanswered(chunk):
                    *texts, end = chat.split_end(event, chunk or {})
                    for text in texts:
                        yield await self._visible(payload(text) or {})
                    await self._hold(end, phase_one)
                    break
                yield event if chunk is None else await self._visible(chunk)
        if not (self.cut or self._end):
            return
        await self._counter.settle()
        if self.cut and (part := await self._counter.accept_part(self._refused)):
            yield encode(chat.chunk({self._reasoning_field: part}, self._common_fields))
        body, counter = await self._second_body(), self._counter
        begun = Usage(counter.prompt_tokens or 0, self._first_tokens, counter.tokens)
        with Booking(begun, self._book) as self._booking:
            async with aclosing(self._post(body)) as reply:
                if not await self._continues(reply):
                    self._booking.cancel()
                    for event in self._finish:
                        yield event
                    return
                yield encode(chat.chunk({self._reasoning_field: TRANSITION}, self._common_fields))
                async for event in events(reply.next_chunk):
                    self._booking.generated += 1
                    chunk = payload(event)
                    yield event if chunk is None else encode(self._as_answer(chunk))

    async def _hold(self, end: bytes, phase_one: AsyncGenerator[bytes]) -> None:
        """Hold the end of phase one back, with what comes within a moment: usage and [DONE]."""
        self._finish.append(await self._visible(payload(end) or {}))
        with suppress(EngineError, TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                async for event in phase_one:
                    chunk = payload(event)
                    if chunk is not None:
                        await self._exceeds_budget(chunk)
                    self._finish.append(event if chunk is None else await self._visible(chunk))
                    if chunk is None and is_done(event):
                        return

    async def _continues(self, reply: Reply) -> bool:
        """Whether phase two has begun; without it, an answer that was not cut stays as it is.

        Raises:
            EngineError: it has not, and the reasoning was cut.
        """
        try:
            await reply.begin()
        except EngineError:
            if self.cut:
                raise
            return False
        if reply.status == 200 and reply.is_stream:
            return True
        if self.cut:
            raise EngineFailed(
                f"the engine refused to continue after the budget (HTTP {reply.status})"
            )
        return False

    async def _exceeds_budget(self, chunk: dict[str, Any]) -> bool:
        """Count a chunk of phase one; whether its reasoning is beyond the budget."""
        self._common_fields = self._common_fields or chat.common_fields(chunk)
        self._usage = read_usage(chunk) or self._usage
        delta = chat_chunk.part(chat_chunk.first_choice(chunk) or {}, "delta")
        reasoning, field = chat_chunk.reasoning(delta)
        if not reasoning or self._answered:  # an answer that has begun cannot be continued
            self._answered = self._answered or chat_chunk.has_answer(delta)
            return False
        self._reasoning_field = field
        choice = chat_chunk.first_choice(chunk) or {}
        if not await self._counter.accept(chunk, choice, reasoning):
            self._refused = reasoning
            return True
        self._answered = chat_chunk.has_answer(delta)
        return False

    def _ends_unanswered(self, chunk: dict[str, Any] | None) -> bool:
        """Whether the choice has finished with reasoning and no answer, by this chunk at last."""
        if self._end is None and self._counter.text and not self._answered:
            choice = chat_chunk.first_choice(chunk or {}) or {}
            self._end = end_kind(choice.get("finish_reason"))
        return self._end is not None

    async def _visible(self, chunk: dict[str, Any]) -> bytes:
        """An event without what the client did not request: running usage, log-probabilities."""
        if chunk.get("choices"):
            chunk = {key: value for key, value in chunk.items() if key != "usage"}
            if self._hides_logprobs:
                visible = [{**choice, "logprobs": None} for choice in chat_chunk.choices(chunk)]
                chunk["choices"] = visible
        elif (usage := read_usage(chunk)) and self.method in ("tokenizer", "logprobs"):
            await self._counter.settle()
            details = {"reasoning_tokens": min(self._counter.tokens, usage.completion)}
            if usage.thinking is None:
                chunk = {**chunk, "usage": chunk["usage"] | {"completion_tokens_details": details}}
        return encode(chunk)

    async def _second_body(self) -> dict[str, Any]:
        """The body of phase two: the closed reasoning block as a message to continue."""
        counter, limit = self._counter, chat.requested_limit(self._body)
        reasoning, used = counter.text, counter.tokens
        if self._usage and not self.cut:
            used = max(used, self._usage.completion)
            thinking = used if self._usage.thinking is None else self._usage.thinking
            counter.tokens = min(thinking, self._budget)  # a stop sequence is no thought
        if self._end == "cut" and (limit is None or used < limit):
            reasoning = shortened(reasoning, used, self._reserve)  # the context is full
        self._first_tokens = used
        if self._usage is None or self.method == "estimate":
            self._closing_tokens = await counter.count(closed_block(""))
        remaining = None if limit is None else limit - used
        body = chat.continued_chat(self._body, self._resume, closed_block(reasoning), remaining)
        body["stream_options"] = {"include_usage": True}
        if self._hides_logprobs:
            del body["logprobs"]
        return body

    def _as_answer(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """A chunk of phase two as a chunk of the single stream; all of its text is answer."""
        usage = read_usage(chunk)
        if usage is not None:
            self._booking.cancel()
            chunk = {**chunk, "usage": self._total_usage(usage)}
        return chat.as_answer(chunk, self._common_fields)

    def _total_usage(self, added: Usage) -> dict[str, Any]:
        """The prompt once, and the tokens of both phases; cut reasoning is not counted.

        The prompt of phase two is that of phase one, the reasoning and the transition sentence:
        what phase one did not report follows from it.
        """
        thinking, used, cached = self._counter.tokens, self._first_tokens, 0
        if self._usage is None:
            prompt = max(0, added.prompt - thinking - self._closing_tokens)
        else:
            prompt, cached = self._usage.prompt, self._usage.cached
            if self.method == "estimate":  # the prompt of phase two tells it better
                thinking = max(thinking, added.prompt - prompt - self._closing_tokens)
        completion = max(used, thinking) + added.completion
        return chat.usage_object(prompt, completion, thinking, cached)
