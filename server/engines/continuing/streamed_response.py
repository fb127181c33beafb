"""The response that the events of a stream make, in the Responses API, and its open item."""

from collections.abc import Sequence

from server.engines.continuing.api import Json
from server.http.json_codec import as_object, as_objects

THINKING = "response.reasoning"
"""Begins the names of the events of a reasoning item."""

ITEM_DONE = "response.output_item.done"
_ITEM_ADDED = "response.output_item.added"
_TEXT_KINDS = {"reasoning": "reasoning_text", "message": "output_text"}


def streamed_response(events: Sequence[Json]) -> Json:
    """The response as far as it came, whether or not the last event repeats its items."""
    responses = [as_object(event.get("response")) for event in events if event.get("response")]
    response, names = responses[-1] if responses else {}, [event.get("type") for event in events]
    if response.get("status") not in ("completed", "incomplete"):
        status = "incomplete" if "response.incomplete" in names else "completed"
        response = {**response, "status": status}
    items = as_objects(response.get("output"))
    if not any(item.get("type") == "reasoning" and item_text(item) for item in items):
        streamed = _streamed_items(events)
        items = [item for item in streamed if item["type"] == "reasoning" or not items] + items
    return {**response, "output": items}


def open_items(events: Sequence[Json]) -> list[Json]:
    """The events that began items of which no event tells the end: the last one, if any."""
    begun = {_item_key(event): event for event in events if event.get("type") == _ITEM_ADDED}
    for event in events:
        if event.get("type") == ITEM_DONE:
            begun.pop(_item_key(event), None)
    return [*begun.values()][-1:]


def item_text(item: Json) -> str:
    """The text of a message, or of a reasoning item: its content, else its summary."""
    for name in ("content", "summary"):
        texts = [entry.get("text") for entry in as_objects(item.get(name))]
        if text := "".join(text for text in texts if isinstance(text, str)):
            return text
    return ""


def _streamed_items(events: Sequence[Json]) -> list[Json]:
    """The items that a stream began, in their order, with the text of its deltas."""
    items: dict[object, Json] = {}
    texts: dict[object, str] = {}
    for event in events:
        name, key = str(event.get("type")), _item_key(event)
        item = as_object(event.get("item"))
        if name.startswith("response.output_item.") and isinstance(item.get("type"), str):
            items[key] = item
        elif name.endswith(".delta") and isinstance(event.get("delta"), str):
            kind = "reasoning" if name.startswith(THINKING) else "message"
            items.setdefault(key, {"type": kind})
            texts[key] = texts.get(key, "") + event["delta"]
    return [_with_text(item, texts.get(key, "")) for key, item in items.items()]


def _item_key(event: Json) -> object:
    """What tells an event's item from others; llama.cpp does not count them."""
    ids = event.get("output_index"), event.get("item_id"), as_object(event.get("item")).get("id")
    return next((key for key in ids if isinstance(key, int | str)), None)


def _with_text(item: Json, text: str) -> Json:
    kind = _TEXT_KINDS.get(item["type"])
    if kind is None or not text or item_text(item):
        return item
    return {**item, "status": "completed", "content": [{"type": kind, "text": text}]}
