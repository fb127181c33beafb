"""Reads a streamed answer: its text, its token counts, and its errors."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from loadtest.error_text import error_message
from loadtest.record import Record

_TOKEN_FIELDS = ("content", "reasoning", "reasoning_content", "tool_calls")
"""The fields of a delta that contain the model's tokens."""


async def read_lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a stream, split at line feeds only.

    Not httpx's `aiter_lines`, on which the libraries for SSE build: it also splits at separators
    that JSON strings may contain (U+2028), and costs 1.8 us per chunk instead of 1.0 us, on the
    core of the load generator, whose delays would be measured as the server's.
    """
    remainder = b""
    async for block in response.aiter_bytes():
        *lines, remainder = (remainder + block).split(b"\n")
        for line in lines:
            yield line
    yield remainder


def parse_chunk(data: bytes, record: Record) -> tuple[str, bool] | None:
    """Add the counts and the error of a chunk to a record.

    Returns:
        The answer's text in the chunk, and whether the chunk contains any token. None, with the
        record's error set, where the data is no chunk of the API.
    """
    try:
        return _read_chunk(json.loads(data), record)
    except (ValueError, LookupError, TypeError, AttributeError):
        record.error = "broken chunk"
        return None


def _read_chunk(chunk: dict[str, Any], record: Record) -> tuple[str, bool]:
    if chunk.get("error"):
        record.error = "error event"
        record.message = error_message(chunk)
    text, has_tokens = "", False
    for choice in chunk.get("choices", []):
        delta: dict[str, Any] = choice.get("delta") or {}
        text += delta.get("content") or ""
        has_tokens |= any(delta.get(name) for name in _TOKEN_FIELDS)
    if usage := chunk.get("usage"):
        record.completion_tokens = _token_count(usage["completion_tokens"])
        details: dict[str, Any] = usage.get("completion_tokens_details") or {}
        thinking = details.get("reasoning_tokens")
        record.thinking_tokens = None if thinking is None else _token_count(thinking)
    tops: dict[str, Any] = chunk.get("tops") or {}
    record.budget_hit = tops.get("budget_hit", record.budget_hit)
    return text, has_tokens


def _token_count(count: object) -> int:
    if not isinstance(count, int):
        raise TypeError(f"{count!r} is no count of tokens")
    return count
