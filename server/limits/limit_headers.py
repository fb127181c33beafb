"""Limits as response headers: a key's in OpenAI's names and in Anthropic's, a session's in ours."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from server.config.api_key_settings import Limit, Unit
from server.limits.store import StoreAnswer
from server.limits.window import Window, reset_seconds, used

Headers = list[tuple[bytes, bytes]]

_UNITS: tuple[Unit, ...] = ("requests", "tokens")
_VALUES = ("limit", "remaining", "reset")

OPENAI_HEADERS = tuple(f"x-ratelimit-{value}-{unit}" for value in _VALUES for unit in _UNITS)
"""`reset` is a duration such as 6m0s; tokens are thinking tokens."""

ANTHROPIC_HEADERS = tuple(
    f"anthropic-ratelimit-{unit}-{value}" for value in _VALUES for unit in _UNITS
)
"""`reset` is a time of RFC 3339."""

SESSION_HEADERS: Mapping[Unit, str] = {
    "requests": "x-tops-session-remaining-turns",
    "tokens": "x-tops-session-remaining-thinking-tokens",
}
"""What the session had left when the turn began, itself deducted."""

_OPENAI_NAMES = {
    unit: tuple(f"x-ratelimit-{value}-{unit}".encode() for value in _VALUES) for unit in _UNITS
}
_ANTHROPIC_NAMES = {
    unit: tuple(f"anthropic-ratelimit-{unit}-{value}".encode() for value in _VALUES)
    for unit in _UNITS
}


def key_headers(limits: Sequence[Limit], store_answer: StoreAnswer, is_anthropic: bool) -> Headers:
    """The headers; of several limits of a unit, those of the one with the least left."""
    tightest: dict[Unit, tuple[int, Limit, Window]] = {}
    for limit, window in zip(limits, store_answer.windows, strict=True):
        remaining = max(0, int(limit.most - used(window, limit, store_answer.now)))
        if limit.unit not in tightest or remaining < tightest[limit.unit][0]:
            tightest[limit.unit] = remaining, limit, window
    headers: Headers = []
    for unit, (remaining, limit, window) in tightest.items():
        seconds = reset_seconds(window, limit, store_answer.now)
        if is_anthropic:
            at = datetime.fromtimestamp(store_answer.now + seconds, UTC)
            reset = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            reset = duration(seconds)
        names = (_ANTHROPIC_NAMES if is_anthropic else _OPENAI_NAMES)[unit]
        values = (b"%d" % limit.most, b"%d" % remaining, reset.encode())
        headers += zip(names, values, strict=True)
    return headers


def session_headers(left: Mapping[Unit, int]) -> Headers:
    """The headers of a session, for each unit that is limited."""
    return [
        (name.encode(), str(left[unit]).encode())
        for unit, name in SESSION_HEADERS.items()
        if unit in left
    ]


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: 120ms, 1s, 6m0s, 23h59m1s."""
    if seconds < 1:
        return f"{round(1000 * seconds)}ms"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
