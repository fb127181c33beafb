"""Engines' errors about a request that is longer than the context, in words that clients know.

OpenAI's clients look for `code: context_length_exceeded` and "maximum context length is N tokens",
Anthropic's for "prompt is too long", or for the sum of input and `max_tokens`; then they shorten
the conversation. Every engine has words of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from router.token_count import token_count

_KINDS = frozenset(("context_length_exceeded", "exceed_context_size_error"))
_WORDS = re.compile(
    r"maximum context length|context (?:length|size|window|limit)|maximum model length"
    r"|model's context|max_model_len|prompt is too long|input token count|too many tokens"
    r"|must be <= \d+\. given",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"(?:maximum (?:context|model) length (?:is|of)"
    r"|context (?:length|size|window|limit) ?(?:of|is|\()"
    r"|allowed \(|context length \(|tokens >|must be <=|context is)\s*\(?(\d+)",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"(?:at least|contains|prompt \(length|input \(|too long:|request \(|has|in the messages[^\d]*)"
    r"\s*(\d+)(?= ?(?:input|prompt|tokens|\)))",
    re.IGNORECASE,
)
_MAXIMUM = "maximum context length is"


@dataclass(frozen=True)
class ContextOverflow:
    """A request that does not fit: tokens are None where the engine does not say."""

    message: str
    context: int | None
    prompt: int | None

    def openai(self) -> str:
        """The message for clients of Chat Completions and Responses."""
        if _MAXIMUM in self.message or self.context is None:
            return self.message
        return f"This model's {_MAXIMUM} {self.context} tokens. {self.message}"

    def anthropic(self, max_tokens: int | None) -> str:
        """The message for clients of Messages."""
        if "prompt is too long" in self.message or self.context is None:
            return self.message
        prompt, context = self.prompt, self.context
        if prompt is not None and max_tokens is not None and prompt < context < prompt + max_tokens:
            return (
                f"input length and `max_tokens` exceed context limit: {prompt} + {max_tokens} > "
                f"{context}, decrease input length or `max_tokens` and try again"
            )
        longer = prompt if prompt is not None and prompt > context else context + 1
        return f"prompt is too long: {longer} tokens > {context} maximum ({self.message})"


def context_overflow(error: Mapping[str, Any], context: int | None) -> ContextOverflow | None:
    """What an engine's error object says of the context, or None where it is about anything else.

    Args:
        error: the error's fields: message, type, code, and llama.cpp's n_ctx and n_prompt_tokens.
        context: the model's context in tokens, where it is known.
    """
    message = error.get("message")
    text = message if isinstance(message, str) else ""
    if not (_KINDS & {str(error.get("code")), str(error.get("type"))} or _WORDS.search(text)):
        return None
    named, prompt = _LIMIT.search(text), _PROMPT.search(text)
    return ContextOverflow(
        text or "the request is longer than the context",
        token_count(error.get("n_ctx")) or (int(named[1]) if named else None) or context,
        token_count(error.get("n_prompt_tokens")) or (int(prompt[1]) if prompt else None),
    )


def openai_refusal(answer: dict[str, Any], context: int | None, param: str) -> dict[str, Any]:
    """An engine's error envelope, with OpenAI's code and words where the context is too short.

    Args:
        answer: the body, whose `error` is an object or a text.
        context: the model's context in tokens, where it is known.
        param: the field that holds the conversation.
    """
    fields = error_fields(answer)
    overflow = context_overflow(fields, context)
    if overflow is None and isinstance(answer.get("error"), str):
        kind = answer.get("error_type", "engine_error")
        return {**answer, "error": {**fields, "type": kind, "param": None, "code": None}}
    if overflow is None:
        return answer
    known = {"type": "invalid_request_error", "param": param, "code": "context_length_exceeded"}
    return {**answer, "error": {**fields, **known, "message": overflow.openai()}}


def error_fields(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an error envelope; a text in its place is the message."""
    error: object = answer.get("error")
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
