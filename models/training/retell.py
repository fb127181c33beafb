"""Trains a model of the demo domain on stories in other words, with what visitors say around them.

`python -m models.training.retell FOLDER`, where FOLDER has a `retell.json`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.training.batches import Batch
from models.training.recipe_streamed import Retell
from models.training.retold_samples import retold_batches
from models.training.streamed import Progress, StreamedRun, process_group

CONTEXT = 4_096
"""The context length after this stage."""


def train(folder: Path) -> None:
    """Train from the latest checkpoint, or from the start model; write `model/`."""
    settings = json.loads((folder / "retell.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(settings["start"])
    model = AutoModelForCausalLM.from_pretrained(settings["start"], dtype=torch.float32)
    model.config.max_position_embeddings = tokenizer.model_max_length = CONTEXT

    def pools(progress: Progress, batch_tokens: int) -> Iterator[Batch]:
        return retold_batches(tokenizer, progress.pool, batch_tokens)

    with process_group() as (rank, world):
        recipe = Retell.model_validate(settings["retell"])
        run = StreamedRun(recipe, folder, model, tokenizer, pools, rank, world)
        run.resume()
        run.run()
        if rank == 0:
            run.finish()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
