"""The settings of one API key."""

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.effort import EFFORTS, Effort
from server.config.session_settings import OverSession, SessionBudget

Unit = Literal["requests", "tokens"]

_MINUTE, _DAY = 60, 86_400


class Limit(NamedTuple):
    """The most requests, or thinking tokens, of an API key in a span of time.

    Attributes:
        name: that of its setting.
        unit: what is counted.
        most: of these.
        seconds: the span.
    """

    name: str
    unit: Unit
    most: int
    seconds: int

    def __str__(self) -> str:
        what = "requests" if self.unit == "requests" else "thinking tokens"
        return f"{self.most:,} {what} per {'minute' if self.seconds == _MINUTE else 'day'}"


def _rate(meaning: str) -> int | None:
    return Field(default=None, ge=1, lt=2**31, description=meaning)


class ApiKeySettings(BaseModel):
    """One API key: a [[keys]] table of tops.toml, as printed by `tops key NAME`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name shown in logs, metrics and reports."
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the key in hexadecimal."
    )
    effort_floor: Effort | None = Field(
        default=None, description="Lowest effort for requests of this key."
    )
    effort_cap: Effort | None = Field(
        default=None, description="Highest effort for requests of this key."
    )
    max_budget: int | None = Field(
        default=None, ge=0, lt=2**31, description="Largest thinking budget per request, in tokens."
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        lt=2**31,
        description="Largest number of concurrent requests; 429 above it.",
    )
    requests_per_minute: int | None = _rate("Requests per minute; 429 above it.")
    requests_per_day: int | None = _rate("Requests per day; 429 above it.")
    thinking_tokens_per_minute: int | None = _rate(
        "Thinking tokens per minute; over_limit says what happens above it."
    )
    thinking_tokens_per_day: int | None = _rate(
        "Thinking tokens per day; over_limit says what happens above it."
    )
    over_limit: Literal["refuse", "lower"] = Field(
        default="refuse",
        description="Without thinking tokens left: refuse requests with 429, or lower them to the "
        "lowest effort that model and key allow.",
    )
    session_turns: int | None = _rate(
        "Requests per conversation; over_session says what happens above it; default: that of the "
        "server."
    )
    session_thinking_tokens: int | None = _rate(
        "Thinking tokens per conversation; over_session says what happens above it; default: that "
        "of the server."
    )
    over_session: OverSession | None = Field(
        default=None,
        description="Above the budget of a conversation: refuse requests with 429, or lower them "
        "to the lowest effort that model and key allow; default: that of the server.",
    )
    dashboard: Literal["own", "all"] = Field(
        default="own", description="Whose requests the key sees on the dashboard."
    )

    def session(self, default: SessionBudget) -> SessionBudget:
        """The budget of each session of the key."""
        own = SessionBudget(self.session_turns, self.session_thinking_tokens)
        return own.within(default, self.over_session)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The key's limits over time, requests first."""
        limits: tuple[tuple[str, Unit, int | None, int], ...] = (
            ("requests_per_minute", "requests", self.requests_per_minute, _MINUTE),
            ("requests_per_day", "requests", self.requests_per_day, _DAY),
            ("thinking_tokens_per_minute", "tokens", self.thinking_tokens_per_minute, _MINUTE),
            ("thinking_tokens_per_day", "tokens", self.thinking_tokens_per_day, _DAY),
        )
        return tuple(
            Limit(name, unit, most, seconds) for name, unit, most, seconds in limits if most
        )

    @model_validator(mode="after")
    def _floor_below_cap(self) -> "ApiKeySettings":
        floor, cap = self.effort_floor, self.effort_cap
        if floor and cap and EFFORTS.index(floor) > EFFORTS.index(cap):
            raise ValueError(f"key '{self.name}': effort_floor is above effort_cap")
        return self
