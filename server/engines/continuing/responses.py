"""Continues the Responses API: the last item of the second request is an incomplete message."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, cast

from router.finish_reason import finish_meaning
from server.engines.continuing.api import Json, Kind
from server.engines.continuing.prefix import without_echo
from server.engines.continuing.unfinished import Unfinished
from server.engines.usage import read_usage
from server.http.sse import encode, payload

LIMITS: tuple[str, ...] = ("max_output_tokens",)
TELLS_CUTS: bool = False
NOTABLE = re.compile(
    rb'"(?:response\.(?:output_text\.delta|refusal\.delta|output_item\.added|function_call|mcp_call'
    rb'|custom_tool_call|completed|incomplete|failed)|error")'
)
_ANSWERS = ("response.output_text.delta", "response.refusal.delta")
_LAST = ("response.completed", "response.incomplete")
_THINKING = "response.reasoning"
_ITEM_ADDED, _ITEM_DONE = "response.output_item.added", "response.output_item.done"
_OPENING = ("response.created", "response.in_progress", "response.queued")


def kind(event: Json) -> Kind | None:
    name = event.get("type")
    if name in ("error", "response.failed"):
        return "error"
    if name in _LAST:
        return _last_kind(event)
    if name in _ANSWERS:
        return "answer" if str(event.get("delta")).strip() else None
    if name == "response.output_item.added":
        known = ("reasoning", "message")
        return None if _object(event.get("item")).get("type") in known else "answer"
    return None


def _last_kind(event: Json) -> Kind | None:
    response = _object(event.get("response"))
    if finish_meaning(response.get("status")) == "error":
        return "error"
    if _is_filtered(response):
        return None
    is_cut = "incomplete" in (response.get("status"), str(event["type"]).removeprefix("response."))
    return "cut" if is_cut else "end"


def parted(event: bytes, fields: Json) -> list[bytes]:  # noqa: ARG001
    return [event]


def may_lack_answer(raw: bytes) -> bool:
    return b'"incomplete"' in raw or b'"output_text"' not in raw


def read_stream(events: Sequence[Json], limit: int | None) -> Unfinished | None:
    return _unfinished(_begun_response(events), limit) if events else None


def thinking_events(events: Sequence[Json]) -> int:
    names = (str(event.get("type")) for event in events)
    return sum(name.startswith(_THINKING) and name.endswith(".delta") for name in names)


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
    items = [_as_answer(item, state.prefix()) for item in _items(continued)]
    items = _without_blank(items)
    if not any(_texts(item) for item in items) and not _has_tools(items):
        return _with_usage(answer, answer, state, continued)
    return _joined(answer, _without_blank(_items(answer)) + items, state, continued)


async def joined(
    events: Sequence[Json], state: Unfinished, continued: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    begun_response = _begun_response(events)
    items = _items(begun_response)
    begun = [event for event in events if event.get("type") not in _LAST]
    numbers = [event.get("sequence_number") for event in begun]
    number = max((number for number in numbers if isinstance(number, int)), default=-1)
    for event in _open_items(begun):  # the stream ended, or was cut, within it
        number += 1
        ending = {**event, "type": _ITEM_DONE, "item": items[-1], "sequence_number": number}
        yield encode(ending, _ITEM_DONE)
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
            added = _items(continued_response)
            is_echo = streamed != "".join(map(_texts, added))  # not an answer that repeats itself
            answers = [_as_answer(item, state.prefix() if is_echo else "") for item in added]
            fields["response"] = _joined(begun_response, items + answers, state, continued_response)
        yield encode(fields, str(name))


def _as_answer(item: Json, prefix: str) -> Json:
    """An item of the second response without what it repeats; all of its text is answer."""
    if item.get("type") not in ("reasoning", "message"):
        return item
    thoughts = _texts(item) if item.get("type") == "reasoning" else ""
    text = without_echo(thoughts, "" if thoughts else _texts(item), prefix)
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
        **_object(continued.get("usage")),
        "input_tokens": prompt,
        "output_tokens": spent + added.completion,
        "total_tokens": prompt + spent + added.completion,
        "output_tokens_details": {"reasoning_tokens": details or 0},
    }
    return {**response, "usage": usage}


def _begun_response(events: Sequence[Json]) -> Json:
    """The response that the events of a stream make, whether or not its last one repeats them."""
    responses = [_object(event.get("response")) for event in events if event.get("response")]
    response, names = responses[-1] if responses else {}, [event.get("type") for event in events]
    if response.get("status") not in ("completed", "incomplete"):
        status = "incomplete" if "response.incomplete" in names else "completed"
        response = {**response, "status": status}
    items = _items(response)
    if not any(item.get("type") == "reasoning" and _texts(item) for item in items):
        streamed = _streamed_items(events)
        items = [item for item in streamed if item["type"] == "reasoning" or not items] + items
    return {**response, "output": items}


def _streamed_items(events: Sequence[Json]) -> list[Json]:
    """The items that a stream began, in their order, with the text of its deltas."""
    items: dict[object, Json] = {}
    texts: dict[object, str] = {}
    for event in events:
        name, key = str(event.get("type")), _item_key(event)
        item = _object(event.get("item"))
        if name.startswith("response.output_item.") and isinstance(item.get("type"), str):
            items[key] = item
        elif name.endswith(".delta") and isinstance(event.get("delta"), str):
            kind = "reasoning" if name.startswith(_THINKING) else "message"
            items.setdefault(key, {"type": kind})
            texts[key] = texts.get(key, "") + event["delta"]
    return [_with_text(item, texts.get(key, "")) for key, item in items.items()]


def _item_key(event: Json) -> object:
    """What tells an event's item from others; llama.cpp does not count them."""
    ids = event.get("output_index"), event.get("item_id"), _object(event.get("item")).get("id")
    return next((key for key in ids if isinstance(key, int | str)), None)


def _with_text(item: Json, text: str) -> Json:
    kinds = {"reasoning": "reasoning_text", "message": "output_text"}
    kind = kinds.get(item["type"])
    if kind is None or not text or _texts(item):
        return item
    return {**item, "status": "completed", "content": [{"type": kind, "text": text}]}


def _open_items(events: Sequence[Json]) -> list[Json]:
    """The events that began items of which no event tells the end: the last one, if any."""
    begun = {_item_key(event): event for event in events if event.get("type") == _ITEM_ADDED}
    for event in events:
        if event.get("type") == _ITEM_DONE:
            begun.pop(_item_key(event), None)
    return [*begun.values()][-1:]


def _unfinished(response: Json, limit: int | None) -> Unfinished | None:
    """The state of a response; None where it is whole, or cannot be continued, as a tool's call."""
    items = _items(response)
    if response.get("status") not in ("completed", "incomplete") or _has_tools(items):
        return None
    if _is_filtered(response):
        return None
    by_kind = {
        name: "".join(_texts(item) for item in items if item.get("type") == name)
        for name in ("reasoning", "message")
    }
    at_length, usage = response.get("status") == "incomplete", read_usage(response)
    return Unfinished.of(by_kind["reasoning"], by_kind["message"], usage, at_length, limit)


def _is_filtered(response: Json) -> bool:
    """Whether a filter ended it, beyond which nothing may go on."""
    return finish_meaning(_object(response.get("incomplete_details")).get("reason")) == "filter"


def _items(response: Json) -> list[Json]:
    output = response.get("output")
    items = cast("list[Any]", output) if isinstance(output, list) else []
    return [_object(item) for item in items]


def _has_tools(items: Sequence[Json]) -> bool:
    return any(item.get("type") not in ("reasoning", "message") for item in items)


def _texts(item: Json) -> str:
    """The text of a message, or of a reasoning item: its content, else its summary."""
    for name in ("content", "summary"):
        parts = item.get(name)
        entries = cast("list[Any]", parts) if isinstance(parts, list) else []
        texts = [_object(entry).get("text") for entry in entries]
        if text := "".join(text for text in texts if isinstance(text, str)):
            return text
    return ""


def _without_blank(items: list[Json]) -> list[Json]:
    return [item for item in items if item.get("type") != "message" or _texts(item).strip()]


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
