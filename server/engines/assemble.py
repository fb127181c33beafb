"""Assembles the events of a streamed chat completion into a completion that is not streamed."""

from collections.abc import AsyncIterator
from typing import Any, cast

from server.errors import EngineFailed
from server.http.sse import is_done, payload


async def assemble(events: AsyncIterator[bytes]) -> dict[str, Any]:
    """The body of a chat completion from the events of a stream with a single choice.

    Raises:
        EngineFailed: the stream ended before [DONE], or has an error event.
    """
    fields: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": None}
    token_logprobs: list[Any] = []
    is_complete = False
    async for event in events:
        chunk = payload(event)
        if chunk is None:
            is_complete = is_complete or is_done(event)
            continue
        if chunk.get("error"):
            raise EngineFailed("the engine failed while generating")
        fields |= {key: value for key, value in chunk.items() if key != "choices"}
        for part in cast("list[dict[str, Any]]", chunk.get("choices") or []):
            _extend_message(message, part.get("delta") or {})
            logprobs: dict[str, Any] = part.get("logprobs") or {}
            token_logprobs += logprobs.get("content") or []
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    if not is_complete:
        raise EngineFailed("the engine's stream ended before it was complete")
    choice["logprobs"] = {"content": token_logprobs} if token_logprobs else None
    return {**fields, "object": "chat.completion", "choices": [choice]}


def _extend_message(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for part in cast("list[dict[str, Any]]", value or []):
                _extend_tool_calls(message.setdefault("tool_calls", []), part)
        elif name in ("content", "reasoning", "reasoning_content") and isinstance(value, str):
            message[name] = (message.get(name) or "") + value


def _extend_tool_calls(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index: int = part.get("index", 0)
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    function: dict[str, Any] = part.get("function") or {}
    call["id"] = part.get("id") or call["id"]
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""
