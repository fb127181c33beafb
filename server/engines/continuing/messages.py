"""Continues Anthropic's Messages API: the second request does not think, and has the thoughts.

Its last message is the assistant's, with the closed reasoning block as text. An engine that
continues such a message goes on with the answer; one that begins another reads it before.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, cast

from router.token_count import token_count
from server.engines.continuing.api import Json, Kind
from server.engines.continuing.ending import end_kind, is_cut_or_several
from server.engines.continuing.prefix import without_echo
from server.engines.continuing.unfinished import Unfinished
from server.engines.usage import read_usage
from server.http.json_codec import as_object, as_objects
from server.http.sse import encode, payload

LIMITS: tuple[str, ...] = ("max_tokens",)
NOTABLE = re.compile(rb'"(?:text_delta|content_block_start|message_delta|error)"')
_TEXT = re.compile(rb'"text"\s*+:\s*"\s*[^"\s\\]')
_STOP = b'"stop_reason"'
_QUIET = ("thinking", "redacted_thinking", "text")
"""Kinds of blocks whose beginning is no answer."""


def kind(event: Json, limit: int | None) -> Kind | None:  # noqa: ARG001
    name = event.get("type")
    if name == "error":
        return "error"
    if name == "message_delta":
        return end_kind(as_object(event.get("delta")).get("stop_reason"))
    if name == "content_block_start":
        block = as_object(event.get("content_block"))
        if block.get("type") not in _QUIET:
            return "answer"
        return "answer" if str(block.get("text") or "").strip() else None
    if name == "content_block_delta":
        return "answer" if str(as_object(event.get("delta")).get("text") or "").strip() else None
    return None


def split_end(event: bytes, fields: Json) -> list[bytes]:  # noqa: ARG001
    return [event]


def may_lack_answer(raw: bytes) -> bool:
    return is_cut_or_several(raw, _STOP) or not _TEXT.search(raw)


def read_stream(events: Sequence[Json], limit: int | None) -> Unfinished | None:  # noqa: ARG001
    message: Json = {"content": _blocks(events), "usage": {}, "stop_reason": None}
    for event in events:
        start = as_object(event.get("message"))
        message["usage"] |= as_object(start.get("usage")) | as_object(event.get("usage"))
        reason = as_object(event.get("delta")).get("stop_reason")
        message["stop_reason"] = reason or message["stop_reason"]
    return _unfinished(message)


def thinking_events(events: Sequence[Json]) -> int:
    return sum(bool(as_object(event.get("delta")).get("thinking")) for event in events)


def read_answer(answer: Json, limit: int | None) -> list[Unfinished]:  # noqa: ARG001
    state = _unfinished(answer)
    return [] if state is None else [state]


def body(body: Json, state: Unfinished, resume: Json, remaining: int | None) -> Json:  # noqa: ARG001
    messages, prefix = list(cast("list[Json]", body["messages"])), state.prefix()
    if messages[-1].get("role") == "assistant" and isinstance(messages[-1].get("content"), str):
        prefix = messages.pop()["content"] + prefix
    messages.append({"role": "assistant", "content": prefix})
    continued = {**body, "messages": messages, "thinking": {"type": "disabled"}}
    return continued if remaining is None else {**continued, "max_tokens": remaining}


def merged(answer: Json, state: Unfinished, continued: Json) -> Json:
    blocks = [_as_answer(block, state.prefix()) for block in as_objects(continued.get("content"))]
    usages = as_object(answer.get("usage")), as_object(continued.get("usage"))
    answer = {**answer, "usage": _total_usage(*usages, state)}
    if not any(str(block.get("text") or "").strip() or "id" in block for block in blocks):
        return answer
    begun = as_objects(answer.get("content"))
    begun = [b for b in begun if b.get("type") != "text" or str(b.get("text")).strip()]
    names = ("stop_reason", "stop_sequence")
    ending = {name: continued.get(name) for name in names}
    return {**answer, **ending, "content": begun + blocks}


async def joined(
    events: Sequence[Json], state: Unfinished, continued: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    begun: Json = {}
    for event in events:
        start = as_object(event.get("message"))
        begun |= as_object(start.get("usage")) | as_object(event.get("usage"))
    if begun.get("output_tokens") is None or state.completion_tokens is not None:
        begun["output_tokens"] = state.completion_tokens or 0
    count = sum(event.get("type") == "content_block_start" for event in events)
    stopped = sum(event.get("type") == "content_block_stop" for event in events)
    if stopped < count:  # the stream was cut within a block
        stop: Json = {"type": "content_block_stop", "index": count - 1}
        yield encode(stop, "content_block_stop")
    async for event in continued:
        fields = payload(event)
        if fields is None:
            yield event
            continue
        name = fields.get("type")
        if name in ("message_start", "ping"):
            continue
        if isinstance(fields.get("index"), int):
            fields = {**fields, "index": fields["index"] + count}
        if name == "message_delta":
            fields = {**fields, "usage": _total_usage(begun, as_object(fields.get("usage")), state)}
        yield encode(fields, str(name))


def _as_answer(block: Json, prefix: str) -> Json:
    """A block of the second message without what it repeats; all of its text is answer."""
    if block.get("type") not in ("thinking", "text"):
        return block
    text = without_echo(str(block.get("thinking") or ""), str(block.get("text") or ""), prefix)
    return {"type": "text", "text": text}


def _unfinished(message: Json) -> Unfinished | None:
    """The state of a message; None where it has a tool's call, or no thinking."""
    blocks, reason = as_objects(message.get("content")), message.get("stop_reason")
    if any(block.get("type") not in _QUIET for block in blocks):
        return None
    if reason is not None and end_kind(reason) is None:
        return None
    reasoning, text = (
        "".join(str(block.get(name) or "") for block in blocks) for name in ("thinking", "text")
    )
    usage = read_usage(message) if reason else None  # that of the first event is not the last one
    return Unfinished.of(reasoning, text, usage, end_kind(reason) == "cut")


def _blocks(events: Sequence[Json]) -> list[Json]:
    """The content blocks of a stream."""
    blocks: list[Json] = []
    for event in events:
        if event.get("type") == "content_block_start":
            blocks.append({**as_object(event.get("content_block"))})
        delta = as_object(event.get("delta"))
        for name in ("thinking", "text"):
            if blocks and isinstance(delta.get(name), str):
                blocks[-1][name] = str(blocks[-1].get(name) or "") + delta[name]
    return blocks


def _total_usage(begun: Json, added: Json, state: Unfinished) -> Json:
    """The prompt once, and the completions of both requests."""
    total: dict[str, Any] = {**added, **begun}
    if "output_tokens_details" not in begun and state.thinking_tokens is not None:
        total["output_tokens_details"] = {"thinking_tokens": state.thinking_tokens}
    counts = (token_count(counts.get("output_tokens")) for counts in (begun, added))
    total["output_tokens"] = sum(count or 0 for count in counts)
    return total
