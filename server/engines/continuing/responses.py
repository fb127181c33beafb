"""Continues the Responses API: the last item of the second request is an incomplete message."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, cast

from router.finish_reason import finish_meaning
from server.engines.continuing.api import Json, Kind
from server.engines.continuing.prefix import without_echo
from server.engines.continuing.streamed_response import (
    ITEM_DONE,
    THINKING,
    item_text,
    open_items,
    streamed_response,
)
from server.engines.continuing.unfinished import Unfinished
from server.engines.usage import read_usage
from server.http.json_codec import as_object, as_objects
from server.http.sse import encode, payload

LIMITS: tuple[str, ...] = ("max_output_tokens",)
NOTABLE = re.compile(
    rb'"(?:response\.(?:output_text\.delta|refusal\.delta|output_item\.added|function_call|mcp_call'
    rb'|custom_tool_call|completed|incomplete|failed)|error")'
)
_ANSWERS = ("response.output_text.delta", "response.refusal.delta")
_LAST = ("response.completed", "response.incomplete")
_OPENING = ("response.created", "response.in_progress", "response.queued")


def kind(event: Json, limit: int | None) -> Kind | None:
    name = event.get("type")
    if name in ("error", "response.failed"):
        return "error"
    if name in _LAST:
        return _last_kind(event, limit)
    if name in _ANSWERS:
        return "answer" if str(event.get("delta")).strip() else None
    if name == "response.output_item.added":
        known = ("reasoning", "message")
        return None if as_object(event.get("item")).get("type") in known else "answer"
    return None


def _last_kind(event: Json, limit: int | None) -> Kind | None:
    response = as_object(event.get("response"))
    if finish_meaning(response.get("status")) == "error":
        return "error"
    if _is_filtered(response):
        return None
    statuses = response.get("status"), str(event["type"]).removeprefix("response.")
    return "cut" if "incomplete" in statuses or _is_spent(response, limit) else "end"


def split_end(event: bytes, fields: Json) -> list[bytes]:  # noqa: ARG001
    return [event]


def may_lack_answer(raw: bytes) -> bool:
    return b'"incomplete"' in raw or b'"output_text"' not in raw


def read_stream(events: Sequence[Json], limit: int | None) -> Unfinished | None:
    return _unfinished(streamed_response(events), limit) if events else None


def thinking_events(events: Sequence[Json]) -> int:
    names = (str(event.get("type")) for event in events)
    return sum(name.startswith(THINKING) and name.endswith(".delta") for name in names)


def read_answer(answer: Json, limit: int | None) -> list[Unfinished]:
    state = _unfinished(answer, limit)
    return [] if state is None else [state]


def body(body: Json, state: Unfinished, resume: Json, remaining: int | None) -> Json:  # noqa: ARG001
    prompt = body.get("input")
    items: list[Any] = (
        list(cast("list[Any]", prompt))
        if isinstance(prompt, list)
        else [{"role": "user", "content": prompt}]
    )
    text: Json = {"type": "output_text", "text": state.prefix(), "annotations": []}
    message: Json = {
        "type": "message",
        "id": "msg_continued",
        "role": "assistant",
        "content": [text],
    }
    continued = {**body, "input": [*items, {**message, "status": "incomplete"}]}
    return continued if remaining is None else {**continued, "max_output_tokens": remaining}


def merged(answer: Json, state: Unfinished, continued: Json) -> Json:
    added = [_as_answer(item, state.prefix()) for item in as_objects(continued.get("output"))]
    items = _without_blank(added)
    if not any(item_text(item) for item in items) and not _has_tools(items):
        return _with_usage(answer, answer, state, continued)
    begun = _without_blank(as_objects(answer.get("output")))
    return _joined(answer, begun + items, state, continued)


async def joined(
    events: Sequence[Json], state: Unfinished, continued: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    begun_response = streamed_response(events)
    items = as_objects(begun_response.get("output"))
    begun = [event for event in events if event.get("type") not in _LAST]
    numbers = [event.get("sequence_number") for event in begun]
    number = max((number for number in numbers if isinstance(number, int)), default=-1)
    for event in open_items(begun):  # the stream ended, or was cut, within it
        number += 1
        ending = {**event, "type": ITEM_DONE, "item": items[-1], "sequence_number": number}
        yield encode(ending, ITEM_DONE)
    streamed = ""
    async for event in continued:
        fields = payload(event)
        if fields is None:
            yield event
            continue
        name = fields.get("type")
        if name in _OPENING:
            continue
        if name in _ANSWERS:
            streamed += str(fields.get("delta"))
        number += 1
        fields = {**fields, "sequence_number": number}
        if isinstance(fields.get("output_index"), int):
            fields["output_index"] += len(items)
        response = fields.get("response")
        if isinstance(response, dict):  # of the last event, whichever it is
            continued_response = cast("Json", response)
            added = as_objects(continued_response.get("output"))
            # not an answer that repeats itself
            is_echo = streamed != "".join(item_text(item) for item in added)
            answers = [_as_answer(item, state.prefix() if is_echo else "") for item in added]
            fields["response"] = _joined(begun_response, items + answers, state, continued_response)
        yield encode(fields, str(name))


def _as_answer(item: Json, prefix: str) -> Json:
    """An item of the second response without what it repeats; all of its text is answer."""
    if item.get("type") not in ("reasoning", "message"):
        return item
    thoughts = item_text(item) if item.get("type") == "reasoning" else ""
    text = without_echo(thoughts, "" if thoughts else item_text(item), prefix)
    begun = {"id": item.get("id"), "role": "assistant", "status": "completed"}
    content: Json = {"type": "output_text", "text": text, "annotations": []}
    message = item if item.get("type") == "message" else begun
    return {**message, "type": "message", "content": [content]}


def _joined(begun_response: Json, items: list[Json], state: Unfinished, continued: Json) -> Json:
    names = ("status", "incomplete_details", "error")
    response = {**begun_response, **{name: continued.get(name) for name in names}, "output": items}
    return _with_usage(response, begun_response, state, continued)


def _with_usage(response: Json, begun_response: Json, state: Unfinished, continued: Json) -> Json:
    """The response with the prompt once, and the completions of both requests."""
    begun_usage, added = read_usage(begun_response), read_usage(continued)
    if added is None:
        return response
    spent = begun_usage.completion if begun_usage else state.completion_tokens or 0
    prompt = max(0, added.prompt - spent - state.closing_tokens)
    prompt = begun_usage.prompt if begun_usage else prompt
    thinking = begun_usage.thinking if begun_usage else None
    details = spent if thinking is None and not state.text else thinking
    usage = {
        **as_object(continued.get("usage")),
        "input_tokens": prompt,
        "output_tokens": spent + added.completion,
        "total_tokens": prompt + spent + added.completion,
        "output_tokens_details": {"reasoning_tokens": details or 0},
    }
    return {**response, "usage": usage}


def _unfinished(response: Json, limit: int | None) -> Unfinished | None:
    """The state of a response; None where it is whole, or cannot be continued, as a tool's call."""
    items = as_objects(response.get("output"))
    if response.get("status") not in ("completed", "incomplete") or _has_tools(items):
        return None
    if _is_filtered(response):
        return None
    by_kind = {
        name: "".join(item_text(item) for item in items if item.get("type") == name)
        for name in ("reasoning", "message")
    }
    at_length = response.get("status") == "incomplete" or _is_spent(response, limit)
    return Unfinished.of(by_kind["reasoning"], by_kind["message"], read_usage(response), at_length)


def _is_spent(response: Json, limit: int | None) -> bool:
    """Whether all tokens are spent: llama.cpp calls a response completed that a limit ended."""
    usage = None if limit is None else read_usage(response)
    return limit is not None and usage is not None and usage.completion >= limit


def _is_filtered(response: Json) -> bool:
    """Whether a filter ended it, beyond which nothing may go on."""
    return finish_meaning(as_object(response.get("incomplete_details")).get("reason")) == "filter"


def _has_tools(items: Sequence[Json]) -> bool:
    return any(item.get("type") not in ("reasoning", "message") for item in items)


def _without_blank(items: list[Json]) -> list[Json]:
    return [item for item in items if item.get("type") != "message" or item_text(item).strip()]
