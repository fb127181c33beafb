"""Parts thoughts from answers, and counts them, where an engine does neither.

vLLM without a reasoning parser leaves `<think>...</think>` in the content; llama.cpp parts it, but
its usage has no reasoning tokens.
"""

from collections.abc import Mapping
from typing import Any

import httpx

_OPEN, _CLOSE = "<think>", "</think>"
_TOKENIZE_SECONDS = 30


def split_reasoning(message: Mapping[str, Any]) -> tuple[str | None, str]:
    """The reasoning of a message, and its visible answer without it.

    Where the prompt has opened the block, the content begins within it. A block that is never
    closed leaves no answer.
    """
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    content: str = message.get("content") or ""
    if reasoning:
        return str(reasoning), content
    head, close, answer = content.partition(_CLOSE)
    opened = head.lstrip().startswith(_OPEN)
    if not opened and (not close or _OPEN in head):
        return None, content
    return head.lstrip().removeprefix(_OPEN).strip("\n") or None, answer.lstrip("\n")


async def count_thinking(
    http: httpx.AsyncClient, url: str, model: str, completion: dict[str, Any]
) -> None:
    """Add the reasoning tokens to the usage of an engine that reports none.

    An answer without thoughts has 0 of them, if the engine has a tokenizer to ask: others may hide
    their thoughts.
    """
    details: dict[str, Any] = completion["usage"].get("completion_tokens_details") or {}
    reasoning, _ = split_reasoning(completion["choices"][0]["message"])
    reported = details.get("reasoning_tokens")
    if reported or (reported is not None and not reasoning):
        return
    tokens = await _tokens_at(http, url, model, reasoning or "")
    if tokens is not None:
        details = {**details, "reasoning_tokens": tokens}
        completion["usage"]["completion_tokens_details"] = details


async def _tokens_at(http: httpx.AsyncClient, url: str, model: str, text: str) -> int | None:
    """Tokens of a text by the engine's own tokenizer, as vLLM and llama.cpp offer it; else None."""
    body = {"model": model, "prompt": text, "content": text, "add_special_tokens": False}
    try:
        answer = await http.post(
            f"{url.removesuffix('/v1')}/tokenize", json=body, timeout=_TOKENIZE_SECONDS
        )
        tokens: object = answer.raise_for_status().json()["tokens"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    return len(tokens) if isinstance(tokens, list) else None  # pyright: ignore[reportUnknownArgumentType]
