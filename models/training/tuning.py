"""Fine-tuning, DPO and GRPO: writes the data as token ids, and runs the TRL worker on it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from models.training.chat import Chat
from models.training.examples import Example, encode_all, write_rows
from models.training.generation import shuffled
from models.training.launch import run_training
from models.training.recipe import Recipe
from models.training.recipe_tuning import Preference, Training, Tuning
from models.training.run import RunError, write_whole
from models.training.shared_prompts import share_prompts


def fine_tune(
    recipe: Recipe,
    settings: Tuning,
    model: str,
    chat: Chat,
    examples: Sequence[Example],
    folder: Path,
) -> dict[str, Any]:
    """Supervised fine-tuning of `model` on examples; the result is `folder/model`.

    Raises:
        RunError: no example fits `max_length`, or the training failed.
    """
    counts = Counter[str]()
    samples = [
        (example, sample)
        for example, sample in encode_all(examples, chat, settings.max_length, counts)
        if any(label >= 0 for label in sample.labels)
    ]
    if settings.shared_prompts:
        rows = share_prompts(samples, settings.max_length)
        counts["row_tokens"] = sum(len(row["input_ids"]) for row in rows)
    else:
        rows = [{"input_ids": sample.ids, "labels": sample.labels} for _, sample in samples]
    return {**counts, **train_on(recipe, settings, model, chat, rows, folder, "sft")}


def prefer(
    recipe: Recipe,
    settings: Preference,
    model: str,
    chat: Chat,
    pairs: Sequence[tuple[Example, Example]],
    folder: Path,
) -> dict[str, Any]:
    """DPO of `model` on (chosen, rejected) pairs; the result is `folder/model`.

    Raises:
        RunError: no pair fits `max_length`, or the training failed.
    """
    counts = Counter[str]()
    rows: list[dict[str, Any]] = []
    for chosen, rejected in pairs:
        chosen_tokens, rejected_tokens = chosen.encode(chat), rejected.encode(chat)
        if max(len(chosen_tokens.ids), len(rejected_tokens.ids)) > settings.max_length:
            counts["too_long"] += 1
            continue
        rows.append(
            {
                "prompt_ids": chosen_tokens.ids[: chosen_tokens.prompt],
                "chosen_ids": chosen_tokens.ids[chosen_tokens.prompt :],
                "rejected_ids": rejected_tokens.ids[rejected_tokens.prompt :],
            }
        )
    return {**counts, **train_on(recipe, settings, model, chat, rows, folder, "dpo")}


def train_on(
    recipe: Recipe,
    settings: Training,
    model: str,
    chat: Chat,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    method: Literal["sft", "dpo", "grpo"],
) -> dict[str, Any]:
    """Train `model` on rows in the form that the method takes; the result is `folder/model`.

    Raises:
        RunError: there are no rows, or the training failed.
    """
    if not rows:
        raise RunError(
            f"{folder.name} has no training data: see the counts in its inputs' manifests "
            "(where dpo has no pairs, raise pairs.samples or set dpo.rounds=0)"
        )
    if not (folder / "model").is_dir():
        write_rows(folder / "tokens.jsonl", shuffled(rows, recipe.random_seed))
        chat.tokenizer.save_pretrained(folder / "tokenizer")
        job = {
            "method": method,
            "model": model,
            "new_tokens": [*recipe.model.add_tokens],
            "tokenizer": str(folder / "tokenizer"),
            "settings": settings.model_dump(mode="json"),
            "verify": recipe.verify.model_dump(mode="json"),
            "seed": recipe.random_seed,
        }
        write_whole(folder / "tuning.json", json.dumps(job, indent=1) + "\n")
        run_training(recipe.launch, "models.training.trl_worker", folder)
    return {"rows": len(rows), **json.loads((folder / "training.json").read_text())}
