"""Train the demo model from scratch on tagged traces: `python -m models.base RUN_FOLDER`.

Resumable: the checkpoint in the run folder is replaced atomically every few minutes, and a rerun
continues from it with the same data order. The learning rate is warm-up, stable, decay, so the
length of a run may be changed while it is under way.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from models.samples import Batch, batches
from models.stories import MAX_STEPS
from models.tokenizer import CONTEXT, train_tokenizer


@dataclass(frozen=True)
class BaseRecipe:
    """The settings of a from-scratch run; tokens are unpadded."""

    tokens: int = 90_000_000
    curriculum_tokens: int = 6_000_000
    warmup_steps: int = 100
    decay_share: float = 0.25
    batch_tokens: int = 8192
    matrix_lr: float = 0.02
    vector_lr: float = 3e-3
    hidden: int = 128
    intermediate: int = 512
    layers: int = 4
    heads: int = 4
    seed: int = 0
    compile: bool = True
    checkpoint_minutes: float = 3.0


@dataclass
class Progress:
    """Where a run is: `pool` is the seed of the next pool of samples."""

    step: int = 0
    tokens: int = 0
    pool: int = 0


def build_model(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A fresh Qwen3-architecture decoder of the recipe's size."""
    torch.manual_seed(recipe.seed)
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


def build_optimizers(recipe: BaseRecipe, model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.vector_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate_share(recipe: BaseRecipe, progress: Progress) -> float:
    """Warm-up over steps, stable, then linear decay to zero over the last tokens."""
    warm = min(1.0, (progress.step + 1) / recipe.warmup_steps)
    left = (recipe.tokens - progress.tokens) / (recipe.decay_share * recipe.tokens)
    return min(warm, max(0.0, left), 1.0)


class BaseRun:
    """One from-scratch run in a folder."""

    def __init__(self, recipe: BaseRecipe, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        self.tokenizer = train_tokenizer(1024, recipe.seed)
        self.model = build_model(recipe, self.tokenizer)
        self.forward = torch.compile(self.model, dynamic=False) if recipe.compile else self.model
        self.optimizers = build_optimizers(recipe, self.model)
        self.progress = Progress()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from the folder's checkpoint, if there is one."""
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.progress = Progress(**state["progress"])

    def save(self) -> None:
        """Replace the checkpoint and the loadable folder `latest` atomically enough for a kill."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        part = self._checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._checkpoint)
        self.model.save_pretrained(self.folder / "latest")
        self.tokenizer.save_pretrained(self.folder / "latest")

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
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


def main() -> None:
    """Parse the recipe's overrides and run."""
    parser = argparse.ArgumentParser(description="Train the demo model from scratch.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=BaseRecipe.tokens)
    arguments = parser.parse_args()
    run = BaseRun(BaseRecipe(tokens=arguments.tokens), arguments.folder)
    run.resume()
    run.run()


if __name__ == "__main__":
    main()
