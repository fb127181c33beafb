"""Recipe tables of the training on endless streams: from scratch, and on retold stories."""

from typing import Annotated

from pydantic import Field

from models.training.recipe_tuning import Count, Table


class Streamed(Table):
    """Training on an endless stream of samples of the demo domain.

    `tokens` do not count padding, `batch_tokens` do. `autocast` computes in bfloat16, which is
    slower on a CPU without its instructions.
    """

    tokens: Count
    warmup_steps: Count = 100
    decay_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    batch_tokens: Count = 8192
    matrix_lr: float = 0.02
    vector_lr: float = 3e-3
    compile: bool = True
    autocast: bool = True
    checkpoint_minutes: float = 3.0


class Scratch(Streamed):
    """A decoder trained from scratch on the demo domain, without tags.

    `curriculum_tokens` do not count padding.
    """

    tokens: Count = 80_000_000
    curriculum_tokens: Count = 6_000_000
    hidden: Count = 128
    intermediate: Count = 512
    layers: Count = 4
    heads: Count = 4


class Retell(Streamed):
    """The stage `retell`: the SFT model of the demo domain learns stories in other words."""

    tokens: Count = 20_000_000
    warmup_steps: Count = 60
    decay_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    batch_tokens: Count = 6144
    matrix_lr: float = 0.01
    vector_lr: float = 1.5e-3
    autocast: bool = False
