"""A reply of an engine that reports no thinking tokens; the engine's tokenizer counts them.

llama.cpp is such an engine. Of several choices it also reports the completion tokens of the first
one only, or of each in turn. Counts that the engine does report are left alone.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from router.token_count import token_count
from server.engines import chat_chunk
from server.engines.continuing.transcript import Transcript
from server.engines.dialect import CHAT, MESSAGES, RESPONSES
from server.engines.engine import Engine
from server.engines.reply import Pending, Reply, Sink, WrappedReply, give, parse_json
from server.engines.usage import read_usage
from server.http.json_codec import as_object, as_objects, dumps
from server.http.sse import EventBuffer, encode, payload, read_event, split

Json = dict[str, Any]
CountTokens = Callable[[str], Awaitable[int | None]]
Post = Callable[[Json], Reply]

_THOUGHT = re.compile(rb'"(?:reasoning_content|reasoning|thinking)"\s*+:\s*+"')
_USAGE = b'"usage"'


def poster(
    engine: Engine, path: str, headers: Mapping[str, str], choices: int = 1, counts: bool = False
) -> Post:
    """Makes replies to bodies for `path`, whose thinking tokens are counted in any case.

    With `counts` also of an engine that reports them, though not on every API.
    """
    post = partial(engine.post, path, headers=headers)
    if (engine.reports_thinking and not counts) or path not in _DETAILS:
        return post
    return lambda body: counted(engine, post(body), path, choices)


def counted(engine: Engine, reply: Reply, path: str, choices: int = 1) -> "CountedReply":
    return CountedReply(reply, path, engine.count_tokens, choices, engine.transition)


class CountedReply(WrappedReply):
    """A reply with the thinking tokens in its usage; a `Reply`.

    `has_counted` is set where the engine sent thoughts, and did not report their tokens.

    Args:
        reply: the engine's, not begun yet.
        path: the API's, one of `server.engines.dialect`'s.
        count_tokens: counts a text on the engine; None where it cannot.
        choices: answers that were requested.
        transition: the sentence with which the engine ends thinking at its budget; not counted.
    """

    def __init__(
        self,
        reply: Reply,
        path: str,
        count_tokens: CountTokens,
        choices: int = 1,
        transition: str = "",
    ) -> None:
        super().__init__(reply)
        self._path = path
        self._count_tokens = count_tokens
        self._choices = choices
        self._transition = transition
        self._buffer = EventBuffer()
        self._thoughts = Transcript()
        self._usages: list[Json] = []
        self.has_counted = False

    async def next_chunk(self) -> bytes:
        """The events that have arrived, at least one; empty at the end."""
        while chunk := await self._reply.next_chunk():
            events = self._read(chunk)
            if _USAGE in events:
                events = await self._counted_events(events)
            if events:
                return events
        return self._buffer.take_incomplete()

    async def stream_to(self, sink: Sink) -> None:
        """Pass all remaining events to `sink`."""

        def watch(chunk: bytes) -> Pending | None:
            events = self._read(chunk)
            if _USAGE in events:
                return self._send(sink, events)
            return sink(events) if events else None

        await self._reply.stream_to(watch)
        if rest := self._buffer.take_incomplete():
            await give(sink, rest)

    async def _send(self, sink: Sink, events: bytes) -> None:
        if counted := await self._counted_events(events):
            await give(sink, counted)

    def _read(self, chunk: bytes) -> bytes:
        """The events that are complete with a chunk; those with thoughts are kept."""
        if self._buffer.is_between_events and self._thoughts.add_thought(chunk):
            return chunk
        events = self._buffer.feed(chunk)
        if _THOUGHT.search(events):
            self._thoughts.add(events, is_thought=True)
        return events

    async def _counted_events(self, events: bytes) -> bytes:
        return b"".join([await self._counted_event(event) for event in split(events)])

    async def _counted_event(self, event: bytes) -> bytes:
        body = payload(event) if _USAGE in event else None
        if body is None:
            return event
        is_nested = isinstance(body.get("response"), dict)
        fields = cast("Json", body["response"]) if is_nested else body
        usage = read_usage(fields)
        is_final = self._path != MESSAGES or body.get("type") == "message_delta"
        if not is_final or not isinstance(fields.get("usage"), dict):
            return event
        if usage is not None and usage.thinking is not None:
            return event
        if self._choices > 1 and not body.get("choices"):
            self._usages.append(fields["usage"])
            if len(self._usages) < self._choices:
                return b""
            fields = {**fields, "usage": _sum_of(self._usages)}
        thinking = await self._count_thoughts(self._streamed_thoughts(fields))
        fields = self._with_thinking(fields, thinking)
        name = read_event(event)[0].decode(errors="replace") or None
        return encode({**body, "response": fields} if is_nested else fields, name)

    def _streamed_thoughts(self, fields: Json) -> Sequence[str]:
        """The thoughts of each choice."""
        if self._path == RESPONSES:
            return _thoughts(fields, self._path)
        texts: dict[str, str] = {}
        for event in split(self._thoughts.events()):
            body = payload(event) or {}
            if self._path == MESSAGES:
                thinking = str(as_object(body.get("delta")).get("thinking") or "")
                texts[""] = texts.get("", "") + thinking
                continue
            for choice in chat_chunk.choices(body):
                text, _ = chat_chunk.reasoning(chat_chunk.part(choice, "delta"))
                index = str(choice.get("index") or 0)
                texts[index] = texts.get(index, "") + text
        return list(texts.values())

    async def _rewritten(self, raw: bytes) -> bytes:
        if self.status != 200 or _USAGE not in raw:
            return raw
        answer = as_object(parse_json(raw))
        usage = read_usage(answer)
        if usage is None or usage.thinking is not None:
            return raw
        answer = await self._with_all_choices(answer, usage.completion)
        thinking = await self._count_thoughts(_thoughts(answer, self._path))
        return dumps(self._with_thinking(answer, thinking))

    async def _with_all_choices(self, answer: Json, completion: int) -> Json:
        """The answer with the completion tokens of all choices, where those of one are reported."""
        choices = chat_chunk.choices(answer) if self._path == CHAT else []
        if len(choices) < 2:
            return answer
        counts = [await self._count(_texts(chat_chunk.part(c, "message"))) for c in choices]
        if None in counts or sum(known := cast("list[int]", counts)) <= completion:
            return answer
        # what its text does not show: the end of the thoughts and of the answer
        unseen = max(0, completion - known[0])
        total = sum(known) + unseen * len(known)
        usage = cast("Json", answer["usage"])
        prompt = token_count(usage.get("prompt_tokens")) or 0
        return {
            **answer,
            "usage": {**usage, "completion_tokens": total, "total_tokens": prompt + total},
        }

    async def _count_thoughts(self, texts: Sequence[str]) -> int | None:
        thinking = await self._count([_without(text, self._transition) for text in texts])
        self.has_counted = bool(thinking)
        return thinking

    async def _count(self, texts: Sequence[str]) -> int | None:
        counts = [await self._count_tokens(text) if text else 0 for text in texts]
        return None if None in counts else sum(cast("list[int]", counts))

    def _with_thinking(self, fields: Json, thinking: int | None) -> Json:
        if thinking is None:
            return fields
        name, key = _DETAILS[self._path]
        usage = as_object(fields["usage"])
        completion = token_count(usage.get("completion_tokens", usage.get("output_tokens")))
        if completion is not None:  # a text may have more tokens than were generated for it
            thinking = min(thinking, completion)
        details = {**as_object(usage.get(name)), key: thinking}
        return {**fields, "usage": {**usage, name: details}}


_DETAILS = {
    CHAT: ("completion_tokens_details", "reasoning_tokens"),
    RESPONSES: ("output_tokens_details", "reasoning_tokens"),
    MESSAGES: ("output_tokens_details", "thinking_tokens"),
}
"""Where each API reports thinking tokens in its usage."""


def _thoughts(answer: Json, path: str) -> Sequence[str]:
    """The thoughts in a whole answer, of each choice."""
    if path == CHAT:
        messages = (chat_chunk.part(choice, "message") for choice in chat_chunk.choices(answer))
        return [chat_chunk.reasoning(message)[0] for message in messages]
    if path == MESSAGES:
        blocks = as_objects(answer.get("content"))
        return ["".join(str(block.get("thinking") or "") for block in blocks)]
    items = [item for item in as_objects(answer.get("output")) if item.get("type") == "reasoning"]
    parts = (part for item in items for part in as_objects(item.get("content")))
    return ["".join(str(part.get("text") or "") for part in parts)]


def _texts(message: Json) -> Sequence[str]:
    """All that a message has of generated text."""
    calls = [str(as_object(call.get("function"))) for call in as_objects(message.get("tool_calls"))]
    return [chat_chunk.reasoning(message)[0], chat_chunk.text(message), *calls]


def _without(text: str, transition: str) -> str:
    """Thoughts without the sentence that ended them, and the line break before it."""
    sentence, end = transition.strip(), text.rstrip()
    if not sentence or not end.endswith(sentence):
        return text
    space = transition[: transition.index(sentence)]
    return end.removesuffix(sentence).removesuffix(space)


def _sum_of(usages: Sequence[Json]) -> Json:
    """The usage of several choices, each reported by itself."""
    completion = sum(token_count(usage.get("completion_tokens")) or 0 for usage in usages)
    prompt = token_count(usages[-1].get("prompt_tokens")) or 0
    totals = {"completion_tokens": completion, "total_tokens": prompt + completion}
    return {**usages[-1], **totals}
