"""Trains a base from scratch on the demo domain in every form of reasoning, without tags.

`python -m models.training.base FOLDER`, where FOLDER has a `scratch.json`. Run by torchrun, it
trains in several processes, each on a share of every batch. The checkpoint is replaced atomically
every few minutes, and a rerun continues from it with the same data order. The learning rate has a
warm-up, a stable and a decay phase.
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import distributed
from torch.nn.utils import clip_grad_norm_, parameters_to_vector, vector_to_parameters
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from models.domain.stories import MAX_STEPS
from models.domain.tokenizer import CONTEXT, TAGS, train_tokenizer
from models.training.recipe import Scratch
from models.training.samples import Batch, batches

_REPORT_SECONDS = 20


@dataclass
class Progress:
    """How far a run is: `pool` is the seed of the next pool of samples."""

    step: int = 0
    tokens: int = 0
    pool: int = 0


def build_model(recipe: Scratch, seed: int, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A decoder of the Qwen3 architecture in the recipe's size, with random weights."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=recipe.hidden // recipe.heads,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def build_optimizers(recipe: Scratch, model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.vector_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate_share(recipe: Scratch, progress: Progress) -> float:
    """Share of the peak rate: warm-up over steps, stable, linear decay over the last tokens."""
    warmup = (progress.step + 1) / recipe.warmup_steps
    decay = (recipe.tokens - progress.tokens) / (recipe.decay_share * recipe.tokens)
    return min(warmup, max(0.0, decay), 1.0)


class BaseRun:
    """A training from scratch in a folder; process `rank` of `world` does its share of it."""

    def __init__(
        self, recipe: Scratch, seed: int, folder: Path, rank: int = 0, world: int = 1
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.rank, self.world = rank, world
        self.tokenizer = train_tokenizer(1024, seed)
        self.model = build_model(recipe, seed, self.tokenizer)
        self.forward = torch.compile(self.model, dynamic=False) if recipe.compile else self.model
        self.optimizers = build_optimizers(recipe, self.model)
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
        """Write `tokenizer/`, and `model/` atomically at the end."""
        self.tokenizer.save_pretrained(self.folder / "tokenizer")
        summary = {"tokens": self.progress.tokens, "steps": self.progress.step}
        (self.folder / "training.json").write_text(json.dumps(summary) + "\n")
        self._redraw_tags()
        partial = self.folder / "model.part"
        self.model.save_pretrained(partial)
        self.tokenizer.save_pretrained(partial)
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        partial.rename(self.folder / "model")

    def _redraw_tags(self) -> None:
        """Draw the tags' embeddings anew: unused tokens end up alike (cosine 0.996, LOG.md)."""
        embeddings = self.model.get_input_embeddings().weight.data
        tags = self.tokenizer.convert_tokens_to_ids(list(TAGS))
        torch.manual_seed(0)
        embeddings[tags] = torch.randn(len(tags), embeddings.shape[1]) * embeddings.std()

    def train_batch(self, batch: Batch) -> float:
        """One optimiser step; returns the mean loss per completion token."""
        share = learning_rate_share(self.recipe, self.progress)
        peaks = (self.recipe.matrix_lr, self.recipe.vector_lr)
        for optimizer, peak in zip(self.optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = self.forward(input_ids=batch.ids, labels=batch.labels).loss
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
            max_steps = self._max_steps()
            size = self.recipe.batch_tokens // self.world
            pool = list(batches(self.tokenizer, self.progress.pool, size, max_steps))
            for start in range(0, len(pool) - self.world + 1, self.world):
                group = pool[start : start + self.world]
                losses.append(self.train_batch(group[self.rank]))
                self.progress.step += 1
                self.progress.tokens += sum(batch.tokens for batch in group)
                now = time.monotonic()
                if now - reported_at > _REPORT_SECONDS and self.rank == 0:
                    rate = (self.progress.tokens - reported_tokens) / (now - reported_at)
                    self._report(sum(losses) / len(losses), rate, max_steps)
                    losses, reported_at, reported_tokens = [], now, self.progress.tokens
            self.progress.pool += 1
            save_seconds = 60 * self.recipe.checkpoint_minutes
            if self.rank == 0 and time.monotonic() - saved_at > save_seconds:
                self.save()
                saved_at = time.monotonic()

    def _max_steps(self) -> int:
        """The curriculum: stories of at most 2 steps at the start, of all lengths at its end."""
        progress = self.progress.tokens / self.recipe.curriculum_tokens
        return min(MAX_STEPS, 2 + int(progress * (MAX_STEPS - 2)))

    def _report(self, loss: float, tokens_per_second: float, max_steps: int) -> None:
        minutes_left = (self.recipe.tokens - self.progress.tokens) / tokens_per_second / 60
        row = {
            **asdict(self.progress),
            "loss": round(loss, 4),
            "tokens_per_second": round(tokens_per_second),
            "minutes_left": round(minutes_left, 1),
            "max_steps": max_steps,
        }
        print(json.dumps(row), flush=True)
        with (self.folder / "trainer" / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


def train(folder: Path) -> None:
    """Train from the latest checkpoint, or from the start; write `model/` and `tokenizer/`."""
    settings = json.loads((folder / "scratch.json").read_text())
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("gloo")
    scratch = Scratch.model_validate(settings["scratch"])
    run = BaseRun(scratch, settings["seed"], folder, rank, world)
    run.resume()
    run.run()
    if rank == 0:
        run.save()
        run.finish()
    if world > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
