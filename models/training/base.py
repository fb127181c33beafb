"""Stage `base` for a model trained from scratch: the demo domain in every written form, untagged.

Resumable: the checkpoint is replaced atomically every few minutes, and a rerun continues from it
with the same data order. The learning rate is warm-up, stable, decay.
"""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from models.stories import MAX_STEPS
from models.tokenizer import CONTEXT, train_tokenizer
from models.training.recipe import Scratch
from models.training.samples import Batch, batches


@dataclass
class Progress:
    """Where a run is: `pool` is the seed of the next pool of samples."""

    step: int = 0
    tokens: int = 0
    pool: int = 0


def build_model(recipe: Scratch, seed: int, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A fresh Qwen3-architecture decoder of the recipe's size."""
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
    """Warm-up over steps, stable, then linear decay to zero over the last tokens."""
    warm = min(1.0, (progress.step + 1) / recipe.warmup_steps)
    left = (recipe.tokens - progress.tokens) / (recipe.decay_share * recipe.tokens)
    return min(warm, max(0.0, left), 1.0)


class BaseRun:
    """One from-scratch run in a folder."""

    def __init__(self, recipe: Scratch, seed: int, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
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
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.progress = Progress(**state["progress"])

    def save(self) -> None:
        """Replace the checkpoint; a kill leaves the old one or the new one."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        part = self._checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._checkpoint)

    def finish(self) -> None:
        """Write the folders `model` and `tokenizer`."""
        self.tokenizer.save_pretrained(self.folder / "tokenizer")
        part = self.folder / "model.part"
        self.model.save_pretrained(part)
        self.tokenizer.save_pretrained(part)
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        part.rename(self.folder / "model")

    def train_batch(self, batch: Batch) -> float:
        """One optimiser step; returns the mean loss per completion token."""
        share = learning_rate_share(self.recipe, self.progress)
        for optimizer, base in zip(
            self.optimizers, (self.recipe.matrix_lr, self.recipe.vector_lr), strict=True
        ):
            optimizer.param_groups[0]["lr"] = base * share
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = self.forward(input_ids=batch.ids, labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.progress.step += 1
        self.progress.tokens += batch.tokens
        return float(loss.detach())

    def run(self) -> None:
        """Train until the recipe's tokens are seen."""
        saved = reported = time.monotonic()
        since: list[float] = []
        counted = self.progress.tokens
        while self.progress.tokens < self.recipe.tokens:
            grown = self.progress.tokens / self.recipe.curriculum_tokens
            longest = min(MAX_STEPS, 2 + int(grown * (MAX_STEPS - 2)))
            pool = batches(self.tokenizer, self.progress.pool, self.recipe.batch_tokens, longest)
            for batch in pool:
                since.append(self.train_batch(batch))
                now = time.monotonic()
                if now - reported > 20:
                    rate = (self.progress.tokens - counted) / (now - reported)
                    self._report(sum(since) / len(since), rate, longest)
                    since, reported, counted = [], now, self.progress.tokens
            self.progress.pool += 1
            if time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
        self.save()

    def _report(self, loss: float, rate: float, longest: int) -> None:
        left = (self.recipe.tokens - self.progress.tokens) / rate / 60
        row = {
            **asdict(self.progress),
            "loss": round(loss, 4),
            "tokens_per_second": round(rate),
            "minutes_left": round(left, 1),
            "longest": longest,
        }
        print(json.dumps(row), flush=True)
        with (self.folder / "trainer" / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


def train_base(recipe: Scratch, seed: int, folder: Path) -> dict[str, Any]:
    """Train from scratch, or go on; returns the tokens and steps that it took."""
    run = BaseRun(recipe, seed, folder)
    run.resume()
    run.run()
    run.finish()
    return {"tokens": run.progress.tokens, "steps": run.progress.step}
