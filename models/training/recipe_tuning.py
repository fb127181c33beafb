"""Recipe tables of the trainings by TRL: fine-tuning and DPO, and what all of them share."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """A table of a recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Table):
    """A low-rank adapter, trained instead of all weights and merged into the model at the end.

    `weights` is the type of those under it: by default bfloat16 on GPUs and float32 on CPUs.
    """

    weights: Literal["float32", "bfloat16"] | None = None
    rank: Count = 32
    alpha: Count = 64
    dropout: Share = 0.0
    targets: str | Sequence[str] = "all-linear"


class Training(Table):
    """What all trainings share.

    `batch` counts samples of all processes together, `micro_batch` those of one process at a time.
    `lora = false` removes the adapter of the recipe that this one extends.
    """

    learning_rate: float = 1e-5
    batch: Count = 32
    micro_batch: Count = 1
    warmup_share: Share = 0.1
    schedule: str = "cosine"
    weight_decay: float = 0.0
    gradient_checkpointing: bool = False
    save_steps: Count = 200
    max_steps: Count | None = None
    lora: Lora | None = None

    @field_validator("lora", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value is False else value


class Tuning(Training):
    """One training on given samples; those longer than `max_length` are left out."""

    epochs: float = 3
    max_length: Count = 16_384
    shared_prompts: bool = False


class Preference(Tuning):
    """Training by DPO; each of the `rounds` samples pairs from the model before and trains it."""

    learning_rate: float = 5e-7
    beta: float = 0.1
    rounds: Annotated[int, Field(ge=0)] = 1
