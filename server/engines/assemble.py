"""Assembles the events of a streamed chat completion into a completion that is not streamed."""

from collections.abc import AsyncIterator
from typing import Any, cast

from server.engines import chat_chunk
from server.engines.reported_error import chat_error
from server.errors import EngineFailed
from server.http.sse import payload

_MAX_TOOL_CALLS = 256


async def assemble(events: AsyncIterator[bytes]) -> dict[str, Any]:
    """The body of a chat completion from the events of a stream with a single choice.

    Raises:
        EngineFailed: the stream ended too early, or has an error event.
    """
    fields: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": None}
    token_logprobs: list[Any] = []
    async for event in events:
        chunk = payload(event)
        if chunk is None:
            continue
        if chat_error(chunk):
            raise EngineFailed("the engine failed while generating")
        fields |= {key: value for key, value in chunk.items() if key != "choices"}
        part = chat_chunk.first_choice(chunk)
        if part is not None:
            _extend_message(message, chat_chunk.part(part, "delta"))
            logprobs = chat_chunk.part(part, "logprobs").get("content")
            token_logprobs += cast("list[Any]", logprobs) if isinstance(logprobs, list) else []
            choice |= {
                name: value
                for name, value in part.items()
                if name not in ("index", "delta", "logprobs") and value not in (None, "")
            }
    if not choice["finish_reason"]:
        raise EngineFailed("the engine's stream ended before it was complete")
    if "reasoning_content" not in message:  # llama.cpp's and SGLang's name
        message.setdefault("reasoning", None)
    choice["logprobs"] = {"content": token_logprobs} if token_logprobs else None
    return {**fields, "object": "chat.completion", "choices": [choice]}


def _extend_message(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for part in cast("list[Any]", value if isinstance(value, list) else []):
                if isinstance(part, dict):
                    _extend_tool_calls(message.setdefault(name, []), cast("dict[str, Any]", part))
        elif name in ("content", "reasoning", "reasoning_content", "refusal"):
            if isinstance(value, str):
                message[name] = (message.get(name) or "") + value
        elif name != "role" and value is not None:
            message[name] = value


def _extend_tool_calls(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index", 0)
    if not isinstance(index, int) or not 0 <= index < _MAX_TOOL_CALLS:
        return
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call, function = calls[index], chat_chunk.part(part, "function")
    call["id"] = part.get("id") or call["id"]
    for name in ("name", "arguments"):
        piece = function.get(name)
        call["function"][name] += piece if isinstance(piece, str) else ""
