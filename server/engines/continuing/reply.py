"""A reply whose thinking may leave no room for the answer; it is then continued to one."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, suppress

from server.engines.continuing.api import ContinuedApi, Json
from server.engines.continuing.booking import Book, Booking
from server.engines.continuing.prefix import closed_block
from server.engines.continuing.room import Room
from server.engines.continuing.stream_watch import StreamWatch
from server.engines.continuing.unfinished import Unfinished
from server.engines.reply import (
    ENDING_SECONDS,
    Pending,
    Reply,
    Sink,
    WrappedReply,
    give,
    parse_json,
)
from server.errors import EngineError, EngineFailed
from server.http.json_codec import as_object, dumps
from server.http.sse import events

Post = Callable[[Json], Reply]
CountTokens = Callable[[str], Awaitable[int | None]]


class _FirstEnded(Exception):  # noqa: N818 - not an error: it ends phase one
    """The model has finished, or has used up its budget."""


class ContinuedReply(WrappedReply):
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
        super().__init__(post(_limited(body, api, room.initial_limit)))
        self._post, self._body, self._api = post, body, api
        self._resume, self._room = resume, room
        self._count_tokens = count_tokens
        self._book = book
        self._watch = StreamWatch(api, room)
        self._second: AsyncGenerator[bytes] | None = None

    @property
    def cut(self) -> bool | None:
        """Whether the thinking was ended at its budget; None where only the engine knows."""
        return self._watch.cut

    async def next_chunk(self) -> bytes:
        """The bytes that have arrived, at least one; empty at the end."""
        watch = self._watch
        while self._second is None:
            chunk = await self._reply.next_chunk()
            passed = watch.pass_on(chunk) if chunk and watch.is_on else chunk
            if watch.is_over or not chunk:
                await self._end_first()
            if passed:
                return passed
        return await anext(self._second, b"")

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining bytes to `sink`, in chunks as they arrive."""
        watch = self._watch

        def pass_on(chunk: bytes) -> Pending | None:
            if not watch.is_on:
                return sink(chunk)
            passed = watch.pass_on(chunk)
            if watch.is_over:
                return _send_last(sink, passed)
            return sink(passed) if passed else None

        if self._second is None:
            with suppress(_FirstEnded):
                await self._reply.stream_to(pass_on)
            await self._end_first()
        while event := await self.next_chunk():
            await give(sink, event)

    async def aclose(self) -> None:
        """End the request at any point."""
        if self._second is not None:
            await self._second.aclose()
        await self._reply.aclose()

    async def _end_first(self) -> None:
        """The first request is over: go on with the second, or with the end of the first."""
        watch = self._watch
        if watch.held:
            with suppress(EngineError, TimeoutError):
                async with asyncio.timeout(ENDING_SECONDS):
                    while not watch.is_complete and (chunk := await self._reply.next_chunk()):
                        watch.pass_on(chunk)
        await self._reply.aclose()
        self._second = self._continued()

    async def _continued(self) -> AsyncGenerator[bytes]:
        """What the client gets after the first request: an answer, or that request's own end.

        Raises:
            EngineFailed: the thinking was cut, and the engine does not go on.
        """
        watch = self._watch
        sent = watch.kept_events() if watch.is_over else []
        state = self._api.read_stream(sent, self._room.first_limit)
        if state is None and watch.cut:
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
                if watch.cut:
                    raise EngineFailed(
                        "the engine did not go on after its thinking had used up its budget"
                    )
                booking.cancel()
        for chunk in watch.end():
            yield chunk

    def _may_continue(self, state: Unfinished) -> bool:
        if state.text:  # which `max_tokens` may have cut
            return self._room.initial_limit is not None
        return bool(state.reasoning) or self._room.is_for_thinking

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
            state.completion_tokens = self._api.thinking_events(self._watch.kept_events())
        if not state.text:
            state.thinking_tokens = state.completion_tokens

    async def _rewritten(self, raw: bytes) -> bytes:
        """A whole answer with every choice that lacks an answer continued to one."""
        if self.status != 200 or not self._api.may_lack_answer(raw):
            return raw
        answer = merged = as_object(parse_json(raw))
        for state in self._api.read_answer(answer, self._room.first_limit):
            if self._may_continue(state):
                await self._count(state)
                async with aclosing(self._continuation(state)) as replies:
                    async for reply in replies:
                        if continued := as_object(parse_json(await reply.read())):
                            merged = self._api.merged(merged, state, continued)
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
