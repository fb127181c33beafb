"""Short texts of errors: a server's message, or the cause of an exception."""

import json
from collections.abc import Sequence
from typing import Any

_MAX_LENGTH = 200


def error_message(body: bytes | dict[str, Any]) -> str:
    """The message of an OpenAI error, or the beginning of any other body."""
    try:
        parsed = json.loads(body) if isinstance(body, bytes) else body
        return _shorten(str(parsed["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return _shorten(raw.decode(errors="replace"))


def root_cause(error: BaseException) -> str | None:
    """The innermost error's text, usually the operating system's; None where it has none."""
    group: Sequence[BaseException] = getattr(error, "exceptions", ())
    inner = group[0] if group else error.__cause__ or error.__context__
    return root_cause(inner) if inner else _shorten(str(error)) or None


def _shorten(text: str) -> str:
    return " ".join(text.split())[:_MAX_LENGTH]
