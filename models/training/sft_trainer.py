"""TRL's SFT trainer, with rows that share prompts and, on CPUs, logits of labelled positions only.

TRL 1.16 scores every position where there is no Triton, prompts and padding too, and computes the
logits a second time in the backward pass. With a vocabulary of 49,152, that is a large part of the
work for a small model.
"""

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from trl import SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput

from models.training.chat import IGNORED
from models.training.shared_prompts import positions, segments

Model = Any
"""One of transformers; its classes are not typed."""

_PADDING = -1
_SCALES = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Keys of configurations whose models change their logits after the output matrix."""


class RowCollator:
    """Pads rows to the longest; those with `branches` also get `position_ids` and `segments`."""

    def __init__(self, padding: int) -> None:
        self._padding = padding

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors of shape (rows, longest)."""
        columns: dict[str, tuple[list[list[int]], int]] = {
            "input_ids": ([row["input_ids"] for row in rows], self._padding),
            "labels": ([row["labels"] for row in rows], IGNORED),
            "attention_mask": ([[1] * len(row["input_ids"]) for row in rows], 0),
        }
        if "branches" in rows[0]:
            branches = [row["branches"] for row in rows]
            columns["position_ids"] = ([positions(lengths) for lengths in branches], 0)
            columns["segments"] = ([segments(lengths) for lengths in branches], _PADDING)
        return {
            name: pad_sequence([torch.tensor(values) for values in lists], True, padding)
            for name, (lists, padding) in columns.items()
        }


def attention_of(segments: torch.Tensor) -> torch.Tensor:
    """What each token sees, (rows, 1, length, length): the common part and its own branch so far.

    Padding sees itself, as a row of the mask without any True has no softmax.
    """
    length = segments.shape[1]
    seen, sees = segments[:, None, :], segments[:, :, None]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    visible = earlier & ((seen == sees) | (seen == 0)) & (seen != _PADDING)
    return (visible | torch.eye(length, dtype=torch.bool, device=segments.device))[:, None]


class RowTrainer(SFTTrainer):
    """Trains on rows of `RowCollator`."""

    def __init__(self, model: Model, **arguments: Any) -> None:
        super().__init__(model, **arguments)
        wrapped = self.accelerator.unwrap_model(self.model)
        replace_forward(wrapped.get_base_model() if hasattr(wrapped, "peft_config") else wrapped)


def replace_forward(model: Model) -> None:
    """Have `model`, which has TRL's fused head, read `segments` and score labelled positions."""
    fused = model.forward
    config = model.config.get_text_config()
    plain = all(getattr(config, name, None) is None for name in _SCALES)

    def forward(self: Model, *args: Any, segments: Any = None, **kwargs: Any) -> Any:
        if segments is not None:
            kwargs["attention_mask"] = attention_of(segments)
        labels = kwargs.get("labels")
        on_cpu = labels is not None and labels.device.type == "cpu"
        if not (on_cpu and plain and kwargs.pop("fused_lm_head", False)):
            return fused(*args, **kwargs)
        return _scored(self, *args, **kwargs)

    model.forward = MethodType(forward, model)


def _scored(
    model: Model, *args: Any, labels: torch.Tensor, num_items_in_batch: Any = None, **kwargs: Any
) -> FusedCausalLMOutput:
    """As TRL's fused head, from logits of the labelled positions only."""
    kwargs["use_cache"] = False
    hidden = model.base_model(*args, **kwargs).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    mask = targets != IGNORED
    logits = model.get_output_embeddings()(hidden[mask]).float()
    log_probs = -cross_entropy(logits, targets[mask], reduction="none")
    with torch.no_grad():
        is_top1 = logits.argmax(dim=-1) == targets[mask]

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)

    items = mask.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
    return FusedCausalLMOutput(
        loss=-log_probs.sum() / items,
        log_probs=spread(log_probs),
        entropy=spread(torch.zeros_like(log_probs.detach())),  # not computed: it takes a softmax
        is_top1=spread(is_top1),
        label_mask=mask,
    )
