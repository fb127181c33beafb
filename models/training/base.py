"""A base trained from scratch: the demo domain in every written form, untagged.

`python -m models.training.base FOLDER`, where FOLDER has a `scratch.json`; run by torchrun it
trains in several processes, each on a share of every batch. Resumable: the checkpoint is replaced
atomically every few minutes, and a rerun continues from it with the same data order. The learning
rate is warm-up, stable, decay.
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
    """One from-scratch run in a folder, or the part of it that process `rank` of `world` does."""

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
        """Write the folders `tokenizer` and, last and whole, `model`."""
        self.tokenizer.save_pretrained(self.folder / "tokenizer")
        told = {"tokens": self.progress.tokens, "steps": self.progress.step}
        (self.folder / "training.json").write_text(json.dumps(told) + "\n")
        self._redraw_tags()
        part = self.folder / "model.part"
        self.model.save_pretrained(part)
        self.tokenizer.save_pretrained(part)
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        part.rename(self.folder / "model")

    def _redraw_tags(self) -> None:
        """Tell the tags apart: never seen, they were all pushed the same way by the softmax."""
        known = self.model.get_input_embeddings().weight.data
        tags = self.tokenizer.convert_tokens_to_ids(list(TAGS))
        torch.manual_seed(0)
        known[tags] = torch.randn(len(tags), known.shape[1]) * known.std()

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
        self._share_gradients()
        clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    def _share_gradients(self) -> None:
        """Give every process the mean of all processes' gradients."""
        if self.world > 1:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            mean = parameters_to_vector(gradients) / self.world
            distributed.all_reduce(mean)
            vector_to_parameters(mean, gradients)

    def run(self) -> None:
        """Train until the recipe's tokens are seen."""
        saved = reported = time.monotonic()
        since: list[float] = []
        counted = self.progress.tokens
        while self.progress.tokens < self.recipe.tokens:
            grown = self.progress.tokens / self.recipe.curriculum_tokens
            longest = min(MAX_STEPS, 2 + int(grown * (MAX_STEPS - 2)))
            size = self.recipe.batch_tokens // self.world
            pool = list(batches(self.tokenizer, self.progress.pool, size, longest))
            for first in range(0, len(pool) - self.world + 1, self.world):
                group = pool[first : first + self.world]
                since.append(self.train_batch(group[self.rank]))
                self.progress.step += 1
                self.progress.tokens += sum(batch.tokens for batch in group)
                now = time.monotonic()
                if now - reported > 20 and self.rank == 0:
                    rate = (self.progress.tokens - counted) / (now - reported)
                    self._report(sum(since) / len(since), rate, longest)
                    since, reported, counted = [], now, self.progress.tokens
            self.progress.pool += 1
            if self.rank == 0 and time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes:
                self.save()
                saved = time.monotonic()

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


def train(folder: Path) -> None:
    """Train, or go on from the last checkpoint; the result is `model/` and `tokenizer/`."""
    told = json.loads((folder / "scratch.json").read_text())
    rank, world = (int(os.environ.get(name, one)) for name, one in (("RANK", 0), ("WORLD_SIZE", 1)))
    if world > 1:
        distributed.init_process_group("gloo")
    run = BaseRun(Scratch.model_validate(told["scratch"]), told["seed"], folder, rank, world)
    run.resume()
    run.run()
    if rank == 0:
        run.save()
        run.finish()
    if world > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
