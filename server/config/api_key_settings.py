"""The settings of one API key."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.effort import EFFORTS, Effort


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

    dashboard: Literal["own", "all"] = Field(
        default="own", description="Whose requests the key sees on the dashboard."
    )

    @model_validator(mode="after")
    def _floor_below_cap(self) -> "ApiKeySettings":
        floor, cap = self.effort_floor, self.effort_cap
        if floor and cap and EFFORTS.index(floor) > EFFORTS.index(cap):
            raise ValueError(f"key '{self.name}': effort_floor is above effort_cap")
        return self
