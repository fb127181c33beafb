"""A reply whose thinking may leave no room for the answer; it is then continued to one.

The engine's events pass unchanged and unparsed. They are kept until the answer begins, and those
that end the stream are held back if it has not begun by then.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, suppress
from typing import cast

from server.engines.continuing.api import ContinuedApi, Json, Kind
from server.engines.continuing.booking import Book, Booking
from server.engines.continuing.prefix import closed_block
from server.engines.continuing.room import Room
from server.engines.continuing.transcript import Transcript
from server.engines.continuing.unfinished import Unfinished
from server.engines.reply import ENDING_SECONDS, Pending, Reply, Sink, give, parse_json
from server.engines.usage import read_usage
from server.errors import EngineError, EngineFailed
from server.http.json_codec import dumps
from server.http.sse import EventBuffer, events, is_done, payload, split

_MAX_EVENTS = 2**16
"""Events of reasoning that are kept at most; a longer one is not continued."""

Post = Callable[[Json], Reply]
CountTokens = Callable[[str], Awaitable[int | None]]


class _FirstEnded(Exception):  # noqa: N818 - not an error: it ends phase one
    """The model has finished, or has used up its budget."""


class ContinuedReply:
    """A reply that is continued where it ends without an answer; a `Reply`.

    Args:
        post: sends a body to the engine.
        body: the request's.
        api: the API that it speaks.
        resume: fields that make the engine continue the last message.
        room: the tokens that it may spend.
        count_tokens: counts a text on the engine.
        book: see Booking.
    """

    def __init__(
        self,
        post: Post,
        body: Json,
        api: ContinuedApi,
        resume: Json,
        room: Room,
        count_tokens: CountTokens,
        book: Book | None = None,
    ) -> None:
        self._post, self._body, self._api = post, body, api
        self._resume, self._room = resume, room
        self._untold_limit = None if api.TELLS_CUTS else room.first_limit
        self._count_tokens = count_tokens
        self._book = book
        self._first = post(_limited(body, api, room.initial_limit))
        self._watching = True
        self._passing_on = False
        self._answered = False
        self._buffer = EventBuffer()
        self._kept = Transcript()
        self._held: list[bytes] = []
        self._is_over = self._is_complete = False
        self._limit = min(_MAX_EVENTS, _MAX_EVENTS if room.budget is None else room.budget)
        self._second: AsyncGenerator[bytes] | None = None
        self._whole = b""
        self.cut: bool | None = None

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._first.status

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream."""
        return self._first.is_stream

    @property
    def retry_after(self) -> str | None:
        """The `Retry-After` header of an engine that refuses."""
        return self._first.retry_after

    async def begin(self) -> None:
        """Wait for a stream's first bytes, or for all of any other body.

        Raises:
            EngineError: the engine failed.
        """
        await self._first.begin()
        if not self._first.is_stream:
            self._whole = await self._completed(await self._first.read())

    async def read(self) -> bytes:
        """The whole body of a reply that is not a stream."""
        return self._whole

    async def next_chunk(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end."""
        while self._second is None:
            chunk = await self._first.next_chunk()
            passed = self._pass(chunk) if chunk and self._watching else chunk
            if self._is_over or not chunk:
                await self._end_first()
            if passed:
                return passed
        return await anext(self._second, b"")

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining bytes to `sink`, in chunks as they arrive."""

        def watch(chunk: bytes) -> Pending | None:
            if not self._watching:
                return sink(chunk)
            passed = self._pass(chunk)
            if self._is_over:
                return _send_last(sink, passed)
            return sink(passed) if passed else None

        if self._second is None:
            with suppress(_FirstEnded):
                await self._first.stream_to(watch)
            await self._end_first()
        while event := await self.next_chunk():
            await give(sink, event)

    async def aclose(self) -> None:
        """End the request at any point."""
        if self._second is not None:
            await self._second.aclose()
        await self._first.aclose()

    def _pass(self, chunk: bytes) -> bytes:
        """The part of a chunk of the first request that goes on to the client now."""
        if self._buffer.is_between_events and self._kept.add_thought(chunk):
            return chunk if self._kept.count <= self._limit else self._within_budget(chunk)
        chunk = self._buffer.feed(chunk)
        if self._passing_on:
            self._watching = not self._buffer.is_between_events
            return chunk
        is_notable = self._api.NOTABLE.search(chunk) is not None
        self._kept.add(chunk, is_thought=not (is_notable or self._held))
        if self._held:
            return self._hold(chunk)
        if is_notable:
            return self._inspect(chunk)
        return chunk if self._kept.count <= self._limit else self._within_budget(chunk)

    def _within_budget(self, chunk: bytes) -> bytes:
        """The events of a chunk that the budget allows: one with reasoning is a token or more."""
        budget = self._room.budget
        if self._answered:
            return chunk
        if budget is None or self._kept.count >= _MAX_EVENTS:
            self._stop_watching()
            return chunk
        excess = self._api.thinking_events(self._kept_events()) - budget
        if excess <= 0:
            self._limit = self._kept.count - excess
            return chunk
        self.cut = self._is_over = True
        allowed = split(chunk)
        while excess > 0:
            body = payload(allowed.pop())
            excess -= self._api.thinking_events([body] if body else [])
        within = b"".join(allowed)
        self._kept.replace_last(chunk, within)
        return within

    def _inspect(self, chunk: bytes) -> bytes:
        position, is_limited = 0, self._room.initial_limit is not None
        for event in split(chunk):
            body = payload(event)
            kind = None if body is None else self._api.kind(body)
            if kind == "answer" and is_limited:
                self._answered = True
            elif kind in ("error", "answer") or (kind == "last answer" and not is_limited):
                self._stop_watching()
                return chunk
            elif kind is not None and self._is_cut_by(kind, body or {}):
                *texts, end = self._api.parted(event, body or {})
                self._hold(end + chunk[position + len(event) :])
                return chunk[:position] + b"".join(texts)
            position += len(event)
        return chunk

    def _is_cut_by(self, kind: Kind, event: Json) -> bool:
        """Whether an event ends the first request, and is to be held back."""
        return kind != "end" or not self._answered or self._is_spent(event)

    def _is_spent(self, event: Json) -> bool:
        """Whether an event that ends the answer tells that it has all of its tokens."""
        limit = self._untold_limit
        usage = None if limit is None else read_usage(cast("Json", event.get("response") or event))
        return limit is not None and usage is not None and usage.completion >= limit

    def _may_continue(self, state: Unfinished) -> bool:
        return bool(state.reasoning or state.text) or self._room.is_for_thinking

    def _hold(self, chunk: bytes) -> bytes:
        """Hold the end of the stream back; nothing goes on."""
        self._held.append(chunk)
        self._is_over = True
        self._is_complete = any(is_done(event) for event in split(chunk))
        return b""

    def _stop_watching(self) -> None:
        self._passing_on = True
        self._watching = not self._buffer.is_between_events
        self._kept = Transcript()

    def _kept_events(self) -> list[Json]:
        parsed = (payload(event) for event in split(self._kept.events()))
        return [event for event in parsed if event is not None]

    async def _end_first(self) -> None:
        """The first request is over: go on with the second, or with the end of the first."""
        if self._held:
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(ENDING_SECONDS):
                    while not self._is_complete and (chunk := await self._first.next_chunk()):
                        self._pass(chunk)
        await self._first.aclose()
        self._second = self._rest()

    async def _rest(self) -> AsyncGenerator[bytes]:
        """What the client gets after the first request: an answer, or that request's own end.

        Raises:
            EngineFailed: the thinking was cut, and the engine does not go on.
        """
        sent = self._kept_events() if self._held or self.cut else []
        state = self._api.read_stream(sent, self._untold_limit)
        if state is None and self.cut:
            state = Unfinished("")
        if state is not None and self._may_continue(state):
            await self._count(state)
            with Booking(state.usage, self._book) as booking:
                async with aclosing(self._continuation(state)) as replies:
                    async for reply in replies:
                        continued = booking.watched(events(reply.next_chunk))
                        async for event in self._api.joined(sent, state, continued):
                            yield event
                        return
                if self.cut:
                    raise EngineFailed(
                        "the engine did not go on after its thinking had used up its budget"
                    )
                booking.cancel()
        for chunk in (*self._held, self._buffer.rest()):
            if chunk:
                yield chunk

    async def _continuation(self, state: Unfinished) -> AsyncGenerator[Reply]:
        """The reply that goes on, begun; none where there is no room, or the engine refuses."""
        for remaining in self._remaining(state):
            body = self._api.body(self._body, state, self._resume, remaining)
            async with aclosing(self._post(body)) as reply:
                try:
                    await reply.begin()
                except EngineError:
                    return
                if reply.status == 200:
                    yield reply
                if reply.status != 400:
                    return

    def _remaining(self, state: Unfinished) -> Generator[int | None]:
        """The completion tokens that are left, then fewer for an engine that refuses so many.

        Where the context is full, the end of the reasoning makes room for the answer.
        """
        room = self._room
        limit, spent = room.max_tokens, state.completion_tokens or 0
        remaining = None if limit is None else limit - spent
        if state.at_length and (room.first_limit is None or spent < room.first_limit):
            state.shorten(room.reserve)
            remaining = None if remaining is None else min(remaining, room.reserve)
        if remaining is not None and remaining < 1:  # the engine has broken a budget that it obeys
            remaining = room.reserve
        yield remaining
        state.shorten(room.reserve)
        yield min(remaining or room.reserve, room.reserve)

    async def _count(self, state: Unfinished) -> None:
        """Count the tokens that the engine has not reported."""
        if state.completion_tokens is not None:
            return
        state.closing_tokens = await self._count_tokens(closed_block("")) or 0
        state.completion_tokens = await self._count_tokens(state.reasoning + state.text)
        if state.completion_tokens is None:
            state.completion_tokens = self._api.thinking_events(self._kept_events())
        if not state.text:
            state.thinking_tokens = state.completion_tokens

    async def _completed(self, raw: bytes) -> bytes:
        """A whole answer with every choice that lacks an answer continued to one."""
        if self._first.status != 200 or not self._api.may_lack_answer(raw):
            return raw
        parsed = parse_json(raw)
        answer = merged = cast("Json", parsed) if isinstance(parsed, dict) else {}
        for state in self._api.read_answer(answer, self._untold_limit):
            is_cut = bool(state.text) and self._room.initial_limit is not None
            if is_cut or (not state.text and self._may_continue(state)):
                await self._count(state)
                async with aclosing(self._continuation(state)) as replies:
                    async for reply in replies:
                        continued = parse_json(await reply.read())
                        if isinstance(continued, dict):
                            continued_answer = cast("Json", continued)
                            merged = self._api.merged(merged, state, continued_answer)
        return raw if merged is answer else dumps(merged)


async def _send_last(sink: Sink, chunk: bytes) -> None:
    """The sink's work for the chunk that ends the first request."""
    if chunk:
        await give(sink, chunk)
    raise _FirstEnded


def _limited(body: Json, api: ContinuedApi, limit: int | None) -> Json:
    """The body with so many tokens to spend at most."""
    if limit is None:
        return body
    names = [name for name in api.LIMITS if body.get(name) is not None] or [api.LIMITS[0]]
    return {**body, **dict.fromkeys(names, limit)}
