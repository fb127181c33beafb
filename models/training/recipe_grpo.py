"""Recipe tables of the stage `grpo`: reinforcement learning of right and short answers."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from models.training.recipe_tuning import (
    Count,
    Effort,
    Positive,
    Schedule,
    Share,
    Table,
    Training,
)
from models.training.rewards import RewardError, check_name


class Goal(Table):
    """What is rewarded at one effort.

    A rollout of more than `limit` tokens, thinking and answer, is cut there and wrong.
    `length_weight` is how much of a right answer's reward its length can cost: 0 rewards every
    right answer alike. `share` of the rollouts, relative to the other efforts', are at this one.
    """

    limit: Count
    length_weight: Annotated[float, Field(ge=0, lt=1)] = 0.0
    share: Positive = 1.0


class Grpo(Training):
    """GRPO from the model of the stage `start`, with the changes of DLER (arXiv 2510.15110).

    Each of the `steps` samples `samples` rollouts of `batch / samples` problems, by TRL's trainer
    (`trainer`), by the embedded engine's library in the same process (`embedded`: models of a few
    million parameters), or by vLLM through TRL (`vllm`: in the training processes, or at `vllm_url`
    a server with its weight transfer switched on). `batch` counts rollouts.

    Problems whose rollouts all have the same reward teach nothing, and are drawn anew `redraws`
    times. `advantages` are divided by the deviation of the rewards of the whole batch, or of each
    problem. Of each problem's rollouts the share `explore` thinks on once, past the end of its
    reasoning, where its answer is wrong: a length that the model never tries is never rewarded.
    Where `borrow` names efforts, `auto` learns from one rollout at each of them, if it earns more
    than the mean of its problem: which effort is enough need not be guessed.
    `updates` are the steps taken on one set of rollouts; ratios are clipped to
    [1 - `clip_low`, 1 + `clip_high`]. `reward` is `shorter`, `within_limit` or a user's
    `module:function`.
    """

    learning_rate: Positive = 1e-6
    batch: Count = 512
    warmup_share: Share = 0.03
    schedule: Schedule = "constant_with_warmup"
    save_steps: Count = 50
    start: Literal["sft", "base"] = "sft"
    steps: Count = 450
    samples: Annotated[int, Field(ge=2)] = 16
    temperature: Positive = 1.0
    efforts: Mapping[Effort | Literal["auto"], Goal]
    reward: str = "shorter"
    advantages: Literal["batch", "group"] = "batch"
    redraws: Annotated[int, Field(ge=0)] = 3
    explore: Share = 0.0
    borrow: Sequence[Effort] = ()
    updates: Count = 1
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Positive = 0.28
    beta: Annotated[float, Field(ge=0)] = 0.0
    rollouts: Literal["trainer", "embedded", "vllm"] = "trainer"
    vllm_url: str | None = None

    @property
    def goals(self) -> dict[str, Goal]:
        """The goal of each effort."""
        return {str(effort): goal for effort, goal in self.efforts.items()}

    @field_validator("reward")
    @classmethod
    def _names_a_reward(cls, value: str) -> str:
        try:
            check_name(value)
        except RewardError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _complete(self) -> "Grpo":
        if not self.efforts:
            raise ValueError("efforts needs at least one table, such as efforts.auto.limit = 4000")
        if self.batch % self.samples:
            raise ValueError(
                f"batch counts rollouts: {self.batch} is no multiple of samples = {self.samples}"
            )
        if not set(self.borrow) <= set(self.efforts) or len(self.borrow) >= self.samples:
            raise ValueError("borrow must name efforts of the table efforts, fewer than samples")
        if self.clip_high < self.clip_low:
            raise ValueError("clip_high is below clip_low: that holds back rare right answers")
        if self.rollouts == "vllm" and (self.explore or self.borrow):
            raise ValueError('explore and borrow need rollouts = "trainer" or "embedded"')
        if self.vllm_url is not None and self.rollouts != "vllm":
            raise ValueError('vllm_url needs rollouts = "vllm"')
        return self
