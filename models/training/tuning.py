"""Fine-tuning, DPO and GRPO: writes the data as token ids, and runs the TRL worker on it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from models.training.chat import Chat, Encoded
from models.training.examples import Example, encode_all, write_rows
from models.training.generation import shuffled
from models.training.launch import run_training
from models.training.recipe import Recipe
from models.training.recipe_tuning import FineTuning, Preference, Training, Tuning
from models.training.run import RunError, write_whole
from models.training.shared_prompts import share_prompts

Item = TypeVar("Item")


def fine_tune(
    recipe: Recipe,
    settings: FineTuning,
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
    _refuse_all_too_long(folder, settings, len(examples), counts)
    rows, held_out = (
        _rows(part, settings)
        for part in split(samples, settings.held_out, recipe.random_seed, _problem)
    )
    if settings.shared_prompts:
        counts["row_tokens"] = sum(len(row["input_ids"]) for row in rows)
    return {**counts, **train_on(recipe, settings, model, chat, rows, folder, "sft", held_out)}


def _refuse_all_too_long(
    folder: Path, settings: Tuning, count: int, counts: Mapping[str, int]
) -> None:
    if count and counts["too_long"] == count:
        raise RunError(
            f"all {count} samples of {folder.name} are longer than max_length = "
            f"{settings.max_length} tokens"
        )


def _problem(sample: tuple[Example, Encoded]) -> str:
    return sample[0].problem_id


def _rows(samples: Sequence[tuple[Example, Encoded]], settings: FineTuning) -> list[dict[str, Any]]:
    if settings.shared_prompts:
        return share_prompts(samples, settings.max_length)
    return [{"input_ids": sample.ids, "labels": sample.labels} for _, sample in samples]


def split(
    items: Sequence[Item], share: float, seed: int, problem_of: Callable[[Item], str]
) -> tuple[list[Item], list[Item]]:
    """The items to train on, and those of the `share` of problems, at least one, held out."""
    problems = shuffled(list(dict.fromkeys(problem_of(item) for item in items)), seed)
    held_out = frozenset(problems[: max(round(share * len(problems)), share > 0)])
    trained = [item for item in items if problem_of(item) not in held_out]
    return trained, [item for item in items if problem_of(item) in held_out]


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
    kept: list[tuple[str, dict[str, Any]]] = []
    for chosen, rejected in pairs:
        chosen_tokens, rejected_tokens = chosen.encode(chat), rejected.encode(chat)
        if max(len(chosen_tokens.ids), len(rejected_tokens.ids)) > settings.max_length:
            counts["too_long"] += 1
            continue
        row = {
            "prompt_ids": chosen_tokens.ids[: chosen_tokens.prompt],
            "chosen_ids": chosen_tokens.ids[chosen_tokens.prompt :],
            "rejected_ids": rejected_tokens.ids[rejected_tokens.prompt :],
        }
        kept.append((chosen.problem_id, row))
    _refuse_all_too_long(folder, settings, len(pairs), counts)
    rows, held_out = (
        [row for _, row in part]
        for part in split(kept, settings.held_out, recipe.random_seed, lambda pair: pair[0])
    )
    return {**counts, **train_on(recipe, settings, model, chat, rows, folder, "dpo", held_out)}


def train_on(
    recipe: Recipe,
    settings: Training,
    model: str,
    chat: Chat,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    method: Literal["sft", "dpo", "grpo"],
    held_out: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Train `model` on rows in the form that the method takes; the result is `folder/model`.

    The loss on the rows `held_out`, if any, is measured meanwhile.

    Raises:
        RunError: there are no rows, or the training failed.
    """
    if held_out and not rows:
        raise RunError(f"{folder.name}.held_out leaves no problem to train on: make it smaller")
    if not rows:
        raise RunError(
            f"{folder.name} has no training data: see the counts in its inputs' manifests "
            "(where dpo has no pairs, raise pairs.samples or set dpo.rounds=0)"
        )
    if not (folder / "model").is_dir():
        write_rows(folder / "tokens.jsonl", shuffled(rows, recipe.random_seed))
        if held_out:
            write_rows(folder / "held_out.jsonl", held_out)
        chat.tokenizer.save_pretrained(folder / "tokenizer")
        job = {
            "method": method,
            "model": model,
            "new_tokens": [*recipe.model.add_tokens],
            "tokenizer": str(folder / "tokenizer"),
            "settings": settings.model_dump(mode="json"),
            "verify": recipe.verify.model_dump(mode="json"),
            "seed": recipe.random_seed,
            "name": f"{recipe.name}-{folder.name}",
            "report_to": [*recipe.launch.report_to],
        }
        write_whole(folder / "tuning.json", json.dumps(job, indent=1) + "\n")
        run_training(recipe.launch, "models.training.trl_worker", folder)
    counts = {"rows": len(rows), **({"held_out": len(held_out)} if held_out else {})}
    return {**counts, **json.loads((folder / "training.json").read_text())}
