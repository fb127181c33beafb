"""The errors that engines report in answers of status 200, in the shapes that they have there."""

from collections.abc import Mapping
from typing import Any, cast

from server.errors import EngineFailed, EngineRefused, GatewayError

FAILED_FINISHES = frozenset(("error", "abort", "insufficient_system_resource"))
"""Finish reasons of answers that an error ended: of OpenRouter and Mistral, SGLang, DeepSeek."""


def reported_error(error: object) -> GatewayError:
    """The gateway's error for an engine's: an object with a message, a text, or anything else.

    A `code` of 400 to 499 is its status, as in the errors that vLLM sends within a stream.
    """
    fields = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    message, code = fields.get("message"), fields.get("code")
    text = f"the engine failed: {message}" if isinstance(message, str) and message else None
    if isinstance(code, int) and 400 <= code < 500:
        return EngineRefused(text or "the engine refused the request", code, None)
    return EngineFailed(text or "the engine reported an error in its answer")


def chat_error(body: Mapping[str, Any]) -> GatewayError | None:
    """The error in a chunk or an answer of Chat Completions: at the top, or of a choice."""
    if body.get("error"):
        return reported_error(body["error"])
    if body.get("object") == "error" or body.get("type") == "error":
        return reported_error(body)
    for choice in choices(body):
        if choice.get("error"):
            return reported_error(choice["error"])
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish.casefold() in FAILED_FINISHES:
            return EngineFailed(f"the engine ended its answer with finish_reason '{finish}'")
    return None


def choices(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of a chunk or an answer that are objects."""
    listed: object = body.get("choices")
    items = cast("list[object]", listed) if isinstance(listed, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
