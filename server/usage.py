"""Token counts of one completion, as the engine reports them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Usage:
    """Tokens of one response; `thinking` is None where the engine does not tell."""

    prompt: int
    completion: int
    thinking: int | None

    @property
    def answer(self) -> int | None:
        """Completion tokens outside the reasoning block."""
        return None if self.thinking is None else self.completion - self.thinking


def read_usage(response: Mapping[str, Any]) -> Usage | None:
    """The `usage` of a response or chunk, or None where it is absent or not usable."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = cast("dict[str, Any]", usage)
    details: object = counts.get("completion_tokens_details")
    thinking: object = (
        cast("dict[str, Any]", details).get("reasoning_tokens")
        if isinstance(details, dict)
        else None
    )
    prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return Usage(prompt, completion, thinking if isinstance(thinking, int) else None)
