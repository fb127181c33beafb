"""Token counts of one completion, as the engine reports them: every API and dialect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import structlog

from router.token_count import token_count
from server.engines.chat_chunk import choices, part

MAX_TOKENS = 10**9
"""Beyond any context: a larger count is an error of the engine's."""

_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
"""OpenAI's, vLLM's, SGLang's, Gemini's; and those of Responses."""
_CACHED = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")
"""Anthropic's, DeepSeek's, Kimi's."""
_CACHE_WRITES = ("cache_creation_input_tokens",)
"""Anthropic's; OpenRouter has `cache_write_tokens` in the details."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Usage:
    """Tokens of one response.

    Attributes:
        prompt: of the prompt, those of caches included.
        completion: of thinking and answer.
        thinking: None where the engine does not report it.
        cached: of the prompt, those that were read from a cache.
        cache_writes: of the prompt, those that were written to a cache for a price of their own.
    """

    prompt: int
    completion: int
    thinking: int | None
    cached: int = 0
    cache_writes: int = 0

    @property
    def answer(self) -> int | None:
        """Completion tokens outside the reasoning block."""
        return None if self.thinking is None else self.completion - self.thinking

    def __add__(self, addend: "Usage") -> "Usage":
        """The sum; `thinking` is None where it is None in either."""
        both_report = self.thinking is not None and addend.thinking is not None
        return Usage(
            self.prompt + addend.prompt,
            self.completion + addend.completion,
            (self.thinking or 0) + (addend.thinking or 0) if both_report else None,
            self.cached + addend.cached,
            self.cache_writes + addend.cache_writes,
        )


def read_usage(response: Mapping[str, Any]) -> Usage | None:
    """The `usage` of a response or chunk, or None where it is absent or not plausible.

    Chat Completions counts `prompt_tokens` and `completion_tokens`, Responses and Messages
    `input_tokens` and `output_tokens`; Messages reports cached prompt tokens
    in fields of their own, which are added. Some engines count thinking beside the completion
    (xAI): there `total_tokens` is the sum of all three, as in Gemini's, which names no thinking.
    Kimi's usage is in the last chunk's choice, Groq's beside the choices under a name of its own.
    """
    counts = _counts(response)
    if counts is None:
        return None
    prompt, completion = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
    if prompt is None:
        prompt, completion = _count(counts, "input_tokens"), _count(counts, "output_tokens")
        for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
            prompt = None if prompt is None else prompt + (_count(counts, name) or 0)
    if prompt is None or completion is None:
        return None
    thinking = _thinking(counts)
    if thinking is None:
        thinking = _unnamed_thinking(counts, prompt + completion)
    if not all(0 <= count <= MAX_TOKENS for count in (prompt, completion, thinking or 0)):
        _warn("usage")
        return None
    is_beside = counts.get("total_tokens") == prompt + completion + (thinking or 0)
    if thinking is not None and (thinking > completion or is_beside):
        completion += thinking
    cached = min(_cached(counts, "cached_tokens", _CACHED), prompt)
    writes = min(_cached(counts, "cache_write_tokens", _CACHE_WRITES), prompt - cached)
    return Usage(prompt, completion, thinking, cached, writes)


def _cached(counts: Mapping[str, Any], detail: str, names: Sequence[str]) -> int:
    """Prompt tokens of a cache: from the details of the prompt, or by a name of a vendor's."""
    for details in _PROMPT_DETAILS:
        count = token_count(part(counts, details).get(detail))
        if count is not None:
            return max(count, 0)
    for name in names:
        count = token_count(counts.get(name))
        if count is not None:
            return max(count, 0)
    return 0


def _counts(response: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object that has the counts; a `usage` at the top counts before any other."""
    if "usage" in response and response["usage"] is not None:
        holders: list[Mapping[str, Any]] = [response]
    else:
        all_choices = choices(response)
        holders = [*all_choices, *(part(choice, "delta") for choice in all_choices)]
        holders.append(part(response, "x_groq"))
    usages = [holder["usage"] for holder in holders if isinstance(holder.get("usage"), dict)]
    return cast("dict[str, Any]", usages[0]) if usages else None


def with_added(usage: object, addend: Usage) -> Any:
    """A `usage` object, of any API, that counts the tokens of another response too.

    A count that it does not have is not added; None and the like are returned as they are.
    """
    if not isinstance(usage, dict):
        return usage
    counts = cast("dict[str, Any]", usage)
    for names, tokens in (
        (("prompt_tokens", "input_tokens"), addend.prompt),
        (("completion_tokens", "output_tokens"), addend.completion),
        (("total_tokens",), addend.prompt + addend.completion),
        (("reasoning_tokens", "thinking_tokens"), addend.thinking or 0),
    ):
        for name in names:
            count = token_count(counts.get(name))
            if count is not None:
                counts = {**counts, name: count + tokens}
    for name in _PROMPT_DETAILS:
        details: object = counts.get(name)
        if isinstance(details, dict):
            prompt_details = cast("dict[str, Any]", details)
            cached = token_count(prompt_details.get("cached_tokens"))
            if cached is not None:
                details = {**prompt_details, "cached_tokens": cached + addend.cached}
                counts = {**counts, name: details}
    for name in ("completion_tokens_details", "output_tokens_details"):
        details = counts.get(name)
        if isinstance(details, dict):
            thinking = Usage(0, 0, addend.thinking)
            counts = {**counts, name: with_added(cast("dict[str, Any]", details), thinking)}
    return counts


def _thinking(counts: Mapping[str, Any]) -> int | None:
    """Thinking tokens from the fields of OpenAI and vLLM, Responses, Messages and SGLang."""
    for name in ("completion_tokens_details", "output_tokens_details"):
        details: object = counts.get(name)
        if isinstance(details, dict):
            for key in ("reasoning_tokens", "thinking_tokens"):
                thinking = _count(cast("dict[str, Any]", details), key)
                if thinking is not None:
                    return thinking
    return _count(counts, "reasoning_tokens")


def _unnamed_thinking(counts: Mapping[str, Any], named: int) -> int | None:
    """Tokens that only the total has, unless they are those of a cached prompt."""
    total, details = token_count(counts.get("total_tokens")), part(counts, "prompt_tokens_details")
    if total is None or not named < total <= MAX_TOKENS or "prompt_tokens" not in counts:
        return None
    return None if total - named == details.get("cached_tokens") else total - named


def _count(counts: Mapping[str, Any], name: str) -> int | None:
    """A count of tokens; None where it is absent or no whole number."""
    reported = counts.get(name)
    if reported is None or type(reported) is int:
        return reported
    count = token_count(reported)
    if count is None:
        _warn(name)
    return count


@cache
def _warn(name: str) -> None:
    """Say once per process that counts were ignored."""
    log.warning("an engine reports token counts that are not plausible: ignored", field=name)
