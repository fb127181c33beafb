"""Training of a small decoder on an endless stream of samples, for as many tokens as it takes.

Run by torchrun, it trains in several processes, each on a share of every batch. The checkpoint is
replaced atomically every few minutes, and a rerun continues from it with the same data order. The
learning rate has a warm-up, a stable and a decay phase.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.utils import clip_grad_norm_, parameters_to_vector, vector_to_parameters
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from models.training.batches import Batch
from models.training.muon import Muon
from models.training.recipe_streamed import Streamed

_REPORT_SECONDS = 20


@dataclass
class Progress:
    """How far a run is: `pool` is the seed of the next pool of samples."""

    step: int = 0
    tokens: int = 0
    pool: int = 0


Pools = Callable[[Progress, int], Iterator[Batch]]
"""The batches of one pool of samples, by the progress and the padded tokens of a batch."""


def build_optimizers(recipe: Streamed, model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.vector_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate_share(recipe: Streamed, progress: Progress) -> float:
    """Share of the peak rate: warm-up over steps, stable, linear decay over the last tokens."""
    warmup = (progress.step + 1) / recipe.warmup_steps
    decay = (recipe.tokens - progress.tokens) / (recipe.decay_share * recipe.tokens)
    return min(warmup, max(0.0, decay), 1.0)


class StreamedRun:
    """A training in a folder; process `rank` of `world` does its share of it."""

    def __init__(
        self,
        recipe: Streamed,
        folder: Path,
        model: Qwen3ForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        pools: Pools,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.recipe, self.folder, self.pools = recipe, folder, pools
        self.rank, self.world = rank, world
        self.model, self.tokenizer = model, tokenizer
        self.forward = torch.compile(model, dynamic=False) if recipe.compile else model
        self.optimizers = build_optimizers(recipe, model)
        self.progress = Progress()
        (folder / "trainer").mkdir(parents=True, exist_ok=True)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "trainer" / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from the folder's checkpoint, if there is one."""
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, state_dict in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(state_dict)
            self.progress = Progress(**state["progress"])

    def save(self) -> None:
        """Replace the checkpoint atomically."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        partial = self._checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def finish(self) -> None:
        """Write `training.json`, and `model/` atomically at the end."""
        summary = {"tokens": self.progress.tokens, "steps": self.progress.step}
        (self.folder / "training.json").write_text(json.dumps(summary) + "\n")
        partial = self.folder / "model.part"
        self.model.save_pretrained(partial)
        self.tokenizer.save_pretrained(partial)
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        partial.rename(self.folder / "model")

    def train_batch(self, batch: Batch) -> float:
        """One optimiser step; returns the mean loss per completion token."""
        share = learning_rate_share(self.recipe, self.progress)
        peaks = (self.recipe.matrix_lr, self.recipe.vector_lr)
        for optimizer, peak in zip(self.optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
        arguments: dict[str, Any] = {"input_ids": batch.ids, "labels": batch.labels}
        if batch.positions is not None:
            # the causal mask alone: without it, transformers may take a gap for the border of two
            # packed sequences (findings/transformers_position_gap_hides_text.sh)
            mask = {"full_attention": None}
            arguments |= {"position_ids": batch.positions, "attention_mask": mask}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.recipe.autocast):
            loss = self.forward(**arguments).loss
        loss.backward()
        self._average_gradients()
        clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    def _average_gradients(self) -> None:
        """Replace the gradients by their mean over all processes."""
        if self.world > 1:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            mean = parameters_to_vector(gradients) / self.world
            distributed.all_reduce(mean)
            vector_to_parameters(mean, gradients)

    def run(self) -> None:
        """Train on as many tokens as the recipe says."""
        saved_at = reported_at = time.monotonic()
        losses: list[float] = []
        reported_tokens = self.progress.tokens
        while self.progress.tokens < self.recipe.tokens:
            pool = list(self.pools(self.progress, self.recipe.batch_tokens // self.world))
            for start in range(0, len(pool) - self.world + 1, self.world):
                if self.progress.tokens >= self.recipe.tokens:
                    break
                group = pool[start : start + self.world]
                losses.append(self.train_batch(group[self.rank]))
                self.progress.step += 1
                self.progress.tokens += sum(batch.tokens for batch in group)
                now = time.monotonic()
                if now - reported_at > _REPORT_SECONDS and self.rank == 0:
                    rate = (self.progress.tokens - reported_tokens) / (now - reported_at)
                    self._report(sum(losses) / len(losses), rate)
                    losses, reported_at, reported_tokens = [], now, self.progress.tokens
            self.progress.pool += 1
            save_seconds = 60 * self.recipe.checkpoint_minutes
            if self.rank == 0 and time.monotonic() - saved_at > save_seconds:
                self.save()
                saved_at = time.monotonic()
        if self.rank == 0:
            self.save()

    def _report(self, loss: float, tokens_per_second: float) -> None:
        tokens_left = max(0, self.recipe.tokens - self.progress.tokens)
        minutes_left = tokens_left / tokens_per_second / 60
        row = {
            **asdict(self.progress),
            "loss": round(loss, 4),
            "tokens_per_second": round(tokens_per_second),
            "minutes_left": round(minutes_left, 1),
        }
        print(json.dumps(row), flush=True)
        with (self.folder / "trainer" / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


@contextmanager
def process_group() -> Generator[tuple[int, int]]:
    """The rank of this process and the number of processes, as torchrun set them."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("gloo")
    yield rank, world
    if world > 1:
        distributed.destroy_process_group()
