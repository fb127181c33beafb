"""Trains a base from scratch on the demo domain in every form of reasoning, without tags.

`python -m models.training.base FOLDER`, where FOLDER has a `scratch.json`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from models.domain.stories import MAX_STEPS
from models.domain.tokenizer import CONTEXT, TAGS, train_tokenizer
from models.training.batches import Batch
from models.training.recipe_streamed import Scratch
from models.training.samples import batches
from models.training.streamed import Progress, StreamedRun, process_group


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


def max_steps(recipe: Scratch, tokens: int) -> int:
    """The curriculum: stories of at most 2 steps at the start, of all lengths at its end."""
    return min(MAX_STEPS, 2 + int(tokens / recipe.curriculum_tokens * (MAX_STEPS - 2)))


def redraw_tags(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Draw the tags' embeddings anew: unused tokens end up alike (cosine 0.996, LOG.md)."""
    embeddings = model.get_input_embeddings().weight.data
    tags = tokenizer.convert_tokens_to_ids(list(TAGS))
    torch.manual_seed(0)
    embeddings[tags] = torch.randn(len(tags), embeddings.shape[1]) * embeddings.std()


def train(folder: Path) -> None:
    """Train from the latest checkpoint, or from the start; write `model/` and `tokenizer/`."""
    settings = json.loads((folder / "scratch.json").read_text())
    recipe = Scratch.model_validate(settings["scratch"])
    tokenizer = train_tokenizer(1024, settings["seed"])

    def pools(progress: Progress, batch_tokens: int) -> Iterator[Batch]:
        return batches(tokenizer, progress.pool, batch_tokens, max_steps(recipe, progress.tokens))

    model = build_model(recipe, settings["seed"], tokenizer)
    with process_group() as (rank, world):
        run = StreamedRun(recipe, folder, model, tokenizer, pools, rank, world)
        run.resume()
        run.run()
        if rank == 0:
            tokenizer.save_pretrained(folder / "tokenizer")
            redraw_tags(model, tokenizer)
            run.finish()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
