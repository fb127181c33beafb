"""Token counts of one completion, as the engine reports them: every API and dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Usage:
    """Tokens of one response; `thinking` is None where the engine does not report it."""

    prompt: int
    completion: int
    thinking: int | None

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
        )


def read_usage(response: Mapping[str, Any]) -> Usage | None:
    """The `usage` of a response or chunk, or None where it is absent or malformed.

    Chat Completions counts `prompt_tokens` and `completion_tokens`, Responses and Messages
    `input_tokens` and `output_tokens`; Messages reports cached prompt tokens
    in fields of their own, which are added.
    """
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = cast("dict[str, Any]", usage)
    if isinstance(counts.get("prompt_tokens"), int):
        prompt, completion = counts["prompt_tokens"], counts.get("completion_tokens")
    else:
        prompt, completion = counts.get("input_tokens"), counts.get("output_tokens")
        cached = (counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens"))
        if isinstance(prompt, int):
            prompt += sum(count for count in cached if isinstance(count, int))
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    thinking = _thinking(counts)
    if min(prompt, completion, thinking or 0) < 0:
        return None
    if thinking is not None and thinking > completion:  # some engines count it beside completion
        completion += thinking
    return Usage(prompt, completion, thinking)


def _thinking(counts: Mapping[str, Any]) -> int | None:
    """Thinking tokens from the fields of OpenAI and vLLM, Responses, Messages and SGLang."""
    for name in ("completion_tokens_details", "output_tokens_details"):
        details: object = counts.get(name)
        if isinstance(details, dict):
            for key in ("reasoning_tokens", "thinking_tokens"):
                thinking = cast("dict[str, Any]", details).get(key)
                if isinstance(thinking, int):
                    return thinking
    thinking = counts.get("reasoning_tokens")
    return thinking if isinstance(thinking, int) else None
