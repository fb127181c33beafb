"""The errors that engines report in answers of status 200, in the shapes that they have there."""

from collections.abc import Mapping
from typing import Any, cast

from server.engines.chat_chunk import choices
from server.errors import EngineFailed, EngineRefused, GatewayError

FAILED_FINISHES = frozenset(("error", "abort", "insufficient_system_resource"))
"""Finish reasons of answers that an error ended: of OpenRouter and Mistral, SGLang, DeepSeek."""


def reported_error(error: object) -> GatewayError:
    """The gateway's error for an engine's: an object with a message, a text, or anything else.

    A `code` of 400 to 499 is its status, as in the errors that vLLM sends within a stream.
    """
    fields = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    message, code = fields.get("message"), fields.get("code")
    if not isinstance(message, str) or not message:
        message = "without a reason"
    if isinstance(code, int) and 400 <= code < 500:
        return EngineRefused(f"the engine refused the request: {message}", code, None)
    return EngineFailed(f"the engine failed: {message}")


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
