"""The trainer of the stage `grpo`: TRL's, with rollouts of our own (`models.training.rollouts`).

Prompts are rendered before, by the stage: TRL renders them without an effort, as it drops a data
set's `chat_template_kwargs`.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from models.outcomes.verify import Judge
from models.training.completions import Reader
from models.training.grpo_steps import StepLog
from models.training.recipe_grpo import Grpo
from models.training.rewards import reward_of
from models.training.rollouts import Draws, Rollouts, Sampler, Task
from models.training.samplers import EmbeddedSampler, TransformersSampler, VllmSampler

_COMPLETION_COLUMNS = (
    "completion_ids",
    "completion_mask",
    "old_per_token_logps",
    "ref_per_token_logps",
    "sampling_per_token_logps",
    "importance_sampling_ratio",
    "tool_mask",
)


class _TrimmingGRPOTrainer(GRPOTrainer):
    """Trains a micro-batch without the padding that all of its samples share.

    TRL pads to the longest of all rollouts of a step: one long one makes each micro-batch as long.
    """

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        return super().compute_loss(model, trimmed(inputs), *args, **options)


def trimmed(inputs: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a micro-batch, prompts padded on the left, completions on the right."""
    prompt = int(inputs["prompt_mask"].sum(dim=1).max())
    completion = int(inputs["completion_mask"].sum(dim=1).max())
    result = dict(inputs)
    for name in ("prompt_ids", "prompt_mask"):
        result[name] = inputs[name][:, inputs[name].size(1) - prompt :]
    width = inputs["completion_ids"].size(1)
    for name in _COMPLETION_COLUMNS:
        column = inputs.get(name)
        if isinstance(column, torch.Tensor) and column.size(1) == width:  # not one per sample
            result[name] = column[:, :completion]
    return result


def grpo_trainer(
    folder: Path,
    job: dict[str, Any],
    arguments: dict[str, Any],
    model: Any,
    tokenizer: Any,
    adapter: Any,
) -> GRPOTrainer:
    """A trainer that is ready to start or to resume.

    Args:
        folder: of the stage; `tokens.jsonl` has its tasks.
        job: the content of `tuning.json`.
        arguments: those that all trainers share.
        model: a transformers model.
        tokenizer: renders nothing here; it decodes.
        adapter: a configuration of PEFT, or None.
    """
    settings = Grpo.model_validate(job["settings"])
    tasks = [Task(**json.loads(line)) for line in (folder / "tokens.jsonl").open()]
    accumulation = arguments["gradient_accumulation_steps"]
    local = arguments["per_device_train_batch_size"] * accumulation * settings.updates
    if local % settings.samples:
        sys.exit(
            f"a process has {local} rollouts of a batch, no multiple of samples = "
            f"{settings.samples}: use fewer processes or a larger batch"
        )
    config = GRPOConfig(
        **{**arguments, "max_steps": settings.steps},
        num_generations=settings.samples,
        steps_per_generation=accumulation * settings.updates,
        max_completion_length=max(goal.limit for goal in settings.efforts.values()),
        temperature=settings.temperature,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        repetition_penalty=1.0,
        scale_rewards=settings.advantages,
        epsilon=settings.clip_low,
        epsilon_high=settings.clip_high,
        beta=settings.beta,
        use_vllm=settings.rollouts == "vllm",
        vllm_mode="server" if settings.vllm_url else "colocate",
        vllm_server_base_url=settings.vllm_url,
    )
    leave_out_missing_rewards()
    source = _Source(folder, job, settings, tasks)
    trainer = _TrimmingGRPOTrainer(
        model,
        reward_funcs=given_reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": task.prompt} for task in tasks]),
        processing_class=tokenizer,
        peft_config=adapter,
        rollout_func=source.rollouts,
    )
    source.attach(trainer)
    return trainer


def leave_out_missing_rewards() -> None:
    """Leave out TRL's warnings, with prompt and answer, that a rollout has no reward.

    A borrowed rollout that teaches nothing has none on purpose.
    """
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(
        lambda record: "All reward functions returned None" not in record.getMessage()
    )


def given_reward(reward: list[float | None], **_: Any) -> list[float | None]:
    """The rewards that came with the rollouts; TRL leaves None out of a problem's mean."""
    return reward


class _Source:
    """Answers the trainer's call for rollouts with groups of our own choice."""

    def __init__(
        self, folder: Path, job: dict[str, Any], settings: Grpo, tasks: list[Task]
    ) -> None:
        self._folder, self._job, self._settings, self._tasks = folder, job, settings, tasks
        self._log = StepLog(folder / "steps.jsonl", settings.steps)
        self._rollouts: Rollouts | None = None

    def attach(self, trainer: Any) -> None:
        settings, verify, seed = self._settings, self._job["verify"], self._job["seed"]
        process = trainer.accelerator.process_index

        def unfinished(here: bool) -> bool:
            flag = trainer.accelerator.gather(
                torch.tensor([here], device=trainer.accelerator.device)
            )
            return bool(flag.any())

        self._rollouts = Rollouts(
            settings,
            Draws(self._tasks, settings, seed, process),
            self._sampler(trainer, process),
            Reader(trainer.processing_class, frozenset(trainer.eos_token_ids)),
            Judge(verify["seconds"], verify["by"], verify["processes"], verify["run_code"]),
            reward_of(settings.reward),
            unfinished,
        )

    def _sampler(self, trainer: Any, process: int) -> Sampler:
        settings, folder = self._settings, self._folder / "serving" / str(process)
        if settings.rollouts == "vllm":
            return VllmSampler(trainer)
        if settings.rollouts == "trainer":
            return TransformersSampler(trainer, settings.temperature)

        def seed() -> int:
            return (self._job["seed"] * 1_000_003 + trainer.state.global_step) * 64 + process

        return EmbeddedSampler(trainer, folder, settings.temperature, seed)

    def rollouts(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """TRL's `rollout_func`: as many rollouts as `prompts`, of problems of our own choice."""
        assert self._rollouts is not None
        start, step = time.monotonic(), trainer.state.global_step
        groups, replaced = self._rollouts.groups(step, len(prompts) // self._settings.samples)
        completions = [completion for group in groups for completion in group.completions]
        if trainer.is_world_process_zero():
            self._log.add(step, groups, replaced, time.monotonic() - start)
        logprobs = [completion.logprobs for completion in completions]
        return {
            "prompt_ids": [group.task.ids for group in groups for _ in group.completions],
            "completion_ids": [completion.ids for completion in completions],
            "logprobs": None if None in logprobs else logprobs,
            "env_mask": [mask for group in groups for mask in group.trained_tokens()]
            if self._settings.explore or self._settings.borrow
            else None,
            "reward": [reward for group in groups for reward in group.counted],
        }
