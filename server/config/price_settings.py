"""The prices of one model's tokens."""

from pydantic import BaseModel, ConfigDict, Field

ANY_MODEL = "*"


def _price(meaning: str) -> float | None:
    return Field(
        default=None, ge=0, allow_inf_nan=False, description=f"Price of a million {meaning}."
    )


class PriceSettings(BaseModel):
    """Prices of a model: a [[prices]] table of tops.toml, each per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        min_length=1,
        max_length=256,
        description=f"Name of the model in the ledger; {ANY_MODEL} for all that have no table.",
    )
    input: float = Field(
        ge=0, allow_inf_nan=False, description="Price of a million prompt tokens that no cache had."
    )
    cached_input: float | None = _price("prompt tokens that were read from a cache; default: input")
    cache_write: float | None = _price("prompt tokens that were written to one; default: input")
    answer: float = Field(
        ge=0, allow_inf_nan=False, description="Price of a million answer tokens."
    )
    thinking: float | None = _price("thinking tokens; default: answer")
