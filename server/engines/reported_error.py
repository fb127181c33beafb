"""The errors that engines report in answers of status 200; refusals of the gateway's key."""

import re
from collections.abc import Mapping
from typing import Any, cast

import structlog

from router.finish_reason import finish_meaning
from server.engines.chat_chunk import choices, part
from server.errors import EngineFailed, EngineRefused, GatewayError

log = structlog.get_logger(__name__)

_CREDENTIALS_REFUSED = 401
_CLIENT_STATUS = re.compile(r"4\d\d")


def reported_error(error: object) -> GatewayError:
    """The gateway's error for an engine's: an object with a message, a text, or anything else.

    A `code` of 400 to 499 is its status, as in the errors that vLLM sends within a stream.

    Raises:
        EngineFailed: it is about the gateway's key.
    """
    fields = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    message, codes = fields.get("message"), (fields.get("code"), fields.get("status"))
    if not isinstance(message, str) or not message:
        message = "without a reason"
    status = next((int(code) for code in map(str, codes) if _CLIENT_STATUS.fullmatch(code)), None)
    if status is not None:
        check_credentials(status)
        return EngineRefused(f"the engine refused the request: {message}", status, None)
    return EngineFailed(f"the engine failed: {message}")


def check_credentials(status: int, engine: str | None = None) -> None:
    """Tell the operator in the log of a status that is about the gateway's key.

    That is 401; hosted services send 403 for content that they do not allow, too.

    Args:
        status: the engine's.
        engine: its name, where it is known.

    Raises:
        EngineFailed: for the client, whose own key is never sent to an engine. The engine's reason
            is not passed on: it may show a part of the gateway's key.
    """
    if status == _CREDENTIALS_REFUSED:
        log.error(
            "the engine refused the gateway's credentials: check upstream_api_key",
            status=status,
            engine=engine,
        )
        raise EngineFailed(f"the engine refused the gateway's credentials (HTTP {status})")


def chat_error(body: Mapping[str, Any]) -> GatewayError | None:
    """The error in a chunk or an answer of Chat Completions: at the top, or of a choice."""
    if body.get("error"):
        return reported_error(body["error"])
    if body.get("object") == "error" or body.get("type") == "error":
        return reported_error(body)
    for choice in choices(body):
        for holder in (choice, part(choice, "delta"), part(choice, "message")):
            if holder.get("error"):
                return reported_error(holder["error"])
        finish = choice.get("finish_reason")
        if finish_meaning(finish) == "error":
            return EngineFailed(f"the engine ended its answer with finish_reason '{finish}'")
    return None
