"""Recipe tables of the trainings by TRL: fine-tuning and DPO, and what all of them share."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
]
"""Courses of the learning rate that transformers knows and that need nothing else stated."""


class Table(BaseModel):
    """A table of a recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    `lora = false` removes the adapter of the recipe that this one extends. `attention` is an
    implementation that transformers knows: `sdpa`, `eager`, `flash_attention_2` or a kernel of the
    hub; by default the model's own.
    """

    learning_rate: Positive = 1e-5
    batch: Count = 32
    micro_batch: Count = 1
    warmup_share: Share = 0.1
    schedule: Schedule = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_checkpointing: bool = False
    save_steps: Count = 200
    attention: str | None = None
    lora: Lora | None = None

    @field_validator("lora", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value is False else value


class Tuning(Training):
    """One training on given samples; those longer than `max_length` are left out.

    It ends after `max_steps`, if that is sooner. The share `held_out` of the problems is not
    trained on, at least one: the loss on their samples is measured every `evaluate_steps`.
    """

    epochs: Positive = 3
    max_steps: Count | None = None
    max_length: Count = 16_384
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    evaluate_steps: Count = 200


class FineTuning(Tuning):
    """Supervised fine-tuning.

    With `padding_free`, a micro-batch is one sequence without padding, which attention by varlen
    kernels keeps apart (`attention = "flash_attention_2"`; others need more time than padding).
    With `shared_prompts`, the samples of a problem are one row with the part of their prompts that
    is common once; `batch` then counts such rows. It needs `attention = "sdpa"`, the default of
    nearly all models.
    """

    padding_free: bool = False
    shared_prompts: bool = False

    @model_validator(mode="after")
    def _one_layout(self) -> "FineTuning":
        if self.padding_free and self.shared_prompts:
            raise ValueError("padding_free and shared_prompts exclude each other")
        if self.shared_prompts and self.attention not in (None, "sdpa"):
            raise ValueError(f'shared_prompts needs attention = "sdpa", not {self.attention}')
        return self


class Preference(Tuning):
    """Training by DPO; each of the `rounds` samples pairs from the model before and trains it."""

    learning_rate: Positive = 5e-7
    beta: Positive = 0.1
    rounds: Annotated[int, Field(ge=0)] = 1
