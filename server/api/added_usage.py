"""Adds the tokens of an attempt that the client does not get to the usage in a stream's events."""

from typing import Any, cast

from server.engines.usage import Usage, with_added
from server.http.sse import encode, parse_data, read_event, split

_HOLDERS = ("response", "message")
"""What has the usage in events of the Responses API, and in the first one of Messages."""


def add_in_events(events: bytes, addend: Usage) -> bytes:
    """Events whose usage counts `addend` too; the same object where they have none."""
    if b'"usage"' not in events:
        return events
    return b"".join([_added(event, addend) for event in split(events)])


def _added(event: bytes, addend: Usage) -> bytes:
    name, data = read_event(event)
    body = parse_data(data) if data and b'"usage"' in data else None
    if body is None:
        return event
    changed = _with_added(body, addend)
    for holder in _HOLDERS:
        inner: object = body.get(holder)
        if isinstance(inner, dict):
            changed = {**changed, holder: _with_added(cast("dict[str, Any]", inner), addend)}
    return encode(changed, name.decode(errors="replace") or None)


def _with_added(body: dict[str, Any], addend: Usage) -> dict[str, Any]:
    return {**body, "usage": with_added(body["usage"], addend)} if body.get("usage") else body
