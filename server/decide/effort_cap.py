"""An API key's effort cap, where a client's text could open a thought at another effort.

Where a number of tokens limits the key, or the server, it limits such a thought as well, and
nothing is refused here.
"""

from router.effort import Effort, rank
from server.api.prefill import opens_thought, prefill_field
from server.api.request import ParsedRequest
from server.api_keys import Caller
from server.config.settings import Settings
from server.decide.budget import thinking_limit
from server.errors import BadRequest


def check_messages(request: ParsedRequest, caller: Caller, settings: Settings) -> None:
    """Refuse messages that open a thought past the cap.

    Raises:
        BadRequest: they do.
    """
    cap = _bare_cap(caller, settings)
    if cap is None:
        return
    field = prefill_field(request)
    if field is not None and opens_thought(request):
        raise BadRequest(
            f"{field} opens a thought, to which the effort cap '{cap}' of key '{caller.name}' "
            "would not apply: leave it out",
            field,
        )


def check_completion(caller: Caller, settings: Settings) -> None:
    """Refuse a text completion, whose prompt is all the client's, under a cap.

    Raises:
        BadRequest: the key has one, or limits the thinking tokens of a span of time or a session.
    """
    limited = any(limit.unit == "tokens" for limit in caller.limits)
    if limited or caller.session.thinking_tokens is not None:
        raise BadRequest(
            f"the thinking tokens of key '{caller.name}' are limited, and those of a text "
            "completion are not counted; use /v1/chat/completions",
            "prompt",
        )
    cap = _bare_cap(caller, settings)
    if cap is not None:
        raise BadRequest(
            f"the effort cap '{cap}' of key '{caller.name}' does not apply to a text completion; "
            "use /v1/chat/completions",
            "prompt",
        )


def _bare_cap(caller: Caller, settings: Settings) -> Effort | None:
    """The cap, where it keeps the key from an effort, and nothing limits its tokens."""
    cap = caller.effort_cap
    if cap is None or rank(cap) >= max(map(rank, settings.offered_efforts)):
        return None
    return cap if thinking_limit(caller, settings)[0] is None else None
