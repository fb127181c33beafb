"""What a question speaks of, so that its gold answer need not say it."""

import re

_PERCENT = re.compile(
    r"[%٪]|percent|per cent|prozent|pour ?cent|por ?cent|por ciento|процент|百分|パーセント",
    re.IGNORECASE,
)
_TIME = re.compile(r"\b(?:what|which) (?:time|hour)\b|o'clock|\bwhen\b", re.IGNORECASE)


def speaks_of_percent(question: str) -> bool:
    return _PERCENT.search(question) is not None


def speaks_of_time(question: str) -> bool:
    """Whether a question may ask for a time of day."""
    return _TIME.search(question) is not None
