"""Stages that train: what they learn from in tokens, and the process that does it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.training.chat import Chat
from models.training.examples import Example, encode_all, write_rows
from models.training.generation import shuffled
from models.training.launch import launched
from models.training.recipe import Preference, Recipe, Tuning
from models.training.run import RunError, write_whole


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
        RunError: nothing is left to learn from, or the training failed.
    """
    counts = Counter[str]()
    encoded = encode_all(examples, chat, settings.max_length, counts)
    learned = [one for one in encoded if any(label >= 0 for label in one.labels)]
    rows = [{"input_ids": one.ids, "labels": one.labels} for one in learned]
    return {**counts, **_train(recipe, settings, model, chat, rows, folder, "sft")}


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
        RunError: there is no pair, or the training failed.
    """
    counts = Counter[str]()
    rows: list[dict[str, Any]] = []
    for chosen, rejected in pairs:
        good, bad = chosen.encode(chat), rejected.encode(chat)
        if max(len(good.ids), len(bad.ids)) > settings.max_length:
            counts["too_long"] += 1
            continue
        rows.append(
            {
                "prompt_ids": good.ids[: good.prompt],
                "chosen_ids": good.ids[good.prompt :],
                "rejected_ids": bad.ids[bad.prompt :],
            }
        )
    return {**counts, **_train(recipe, settings, model, chat, rows, folder, "dpo")}


def _train(
    recipe: Recipe,
    settings: Tuning,
    model: str,
    chat: Chat,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    method: str,
) -> dict[str, Any]:
    if not rows:
        raise RunError(
            f"{folder.name} has nothing to learn from: see the counts in its inputs' manifests "
            "(where dpo has no pairs, raise pairs.samples or set dpo.rounds=0)"
        )
    if not (folder / "model").is_dir():
        write_rows(folder / "tokens.jsonl", shuffled(rows, recipe.random_seed))
        chat.tokenizer.save_pretrained(folder / "tokenizer")
        told = {
            "method": method,
            "model": model,
            "tokenizer": str(folder / "tokenizer"),
            "settings": settings.model_dump(mode="json"),
            "seed": recipe.random_seed,
        }
        write_whole(folder / "tuning.json", json.dumps(told, indent=1) + "\n")
        launched(recipe.launch, "models.training.trl_worker", folder)
    return {"rows": len(rows), **json.loads((folder / "training.json").read_text())}
