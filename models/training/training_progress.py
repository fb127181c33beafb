"""What a training says while it runs: a line with loss, tokens per second and the time left."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

_SECONDS = 20.0
"""Between two lines, but for the last one."""


class ProgressLines(TrainerCallback):
    """Writes lines to standard error, and has the last step's loss logged.

    A training whose loss is no number any more ends there: all later checkpoints would be useless.

    See `transformers.TrainerCallback` for the arguments.
    """

    def __init__(self) -> None:
        self._start = self._told = time.monotonic()
        self._first_step = 0
        self._tokens: float | None = None
        self._counted = self._start

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._start = self._told = self._counted = time.monotonic()
        self._first_step = state.global_step
        if not self._first_step:  # a resumed trainer goes on counting from its checkpoint
            self._tokens = 0.0

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: Mapping[str, Any], **_: Any
    ) -> None:
        if "eval_loss" in logs and state.is_world_process_zero:
            held_out = f"step {state.global_step}, loss of held-out rows {logs['eval_loss']:.4f}"
            print(held_out, file=sys.stderr, flush=True)
        if not math.isfinite(float(logs.get("loss", 0))):
            sys.exit(
                f"step {state.global_step}: the loss is {logs['loss']}: set a lower learning_rate, "
                "or a longer warmup_share"
            )
        now = time.monotonic()
        is_last = state.global_step >= state.max_steps
        if "loss" not in logs or not state.is_world_process_zero:
            return
        if now - self._told < _SECONDS and not is_last:
            return
        parts = [
            f"step {state.global_step} of {state.max_steps}",
            f"loss {float(logs['loss']):.4f}",
        ]
        tokens = logs.get("num_tokens")
        if tokens is not None:
            if self._tokens is not None and now > self._counted:
                parts.append(f"{(tokens - self._tokens) / (now - self._counted):,.0f} tokens/s")
            self._tokens, self._counted = tokens, now
        done = state.global_step - self._first_step
        if done and not is_last:
            left = (state.max_steps - state.global_step) * (now - self._start) / done
            parts.append(f"{duration(left)} left")
        self._told = now
        print(", ".join(parts), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """As 40 s, 12 min or 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def mean_loss(history: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean loss of all steps, those before a resume too; None where none was logged.

    Each entry of a trainer's `log_history` has the mean since the entry before it. The trainer's
    own `training_loss` divides the losses since the last resume by the number of all steps.
    """
    total, last = 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += float(entry["loss"]) * (entry["step"] - last)
            last = entry["step"]
    return total / last if last else None
