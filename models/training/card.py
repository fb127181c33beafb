"""The model card of an exported folder: its use, its results, its limits, and its recipe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from models.training.pretrained import is_gguf
from models.training.recipe import Recipe
from models.training.rendering import render


def card(recipe: Recipe, report: Mapping[str, Any], router: str, stage: str) -> str:
    """The card as Markdown.

    Args:
        recipe: what the model was trained by.
        report: the content of `report.json`.
        router: a summary of the fitted router, or why there is none.
        stage: the stage whose model is exported.
    """
    base = recipe.model.base
    return render(
        "card.md.jinja",
        recipe=recipe,
        metadata=_metadata(recipe),
        base=base and _without_folders(base),
        base_on_hub=base is not None and _is_on_hub(base),
        rounds=recipe.dpo.rounds if stage.startswith("dpo") else 0,
        report=report,
        router=router.replace("\n", "; "),
        stage=stage,
        recipe_json=json.dumps(
            _without_folders(recipe.model_dump(mode="json", exclude={"launch"})), indent=1
        ),
    )


def _metadata(recipe: Recipe) -> list[str]:
    """The lines of YAML by which the hub lists a model; their values are JSON, which YAML reads."""
    base, data = recipe.model.base, recipe.data
    sources = (*data.seed, *data.train, *data.evaluate, *data.router)
    entries: dict[str, Any] = {
        "license": recipe.hub and recipe.hub.license,
        "language": recipe.hub and [*recipe.hub.languages],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": base if base is not None and _is_on_hub(base) else None,
        "datasets": [*dict.fromkeys(source.dataset for source in sources if source.dataset)],
        "tags": ["reasoning", "reasoning-effort", "tops"],
    }
    return [f"{key}: {json.dumps(value)}" for key, value in entries.items() if value]


def _is_on_hub(base: str) -> bool:
    return not _is_path(base) and not is_gguf(base)


def _is_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~"))


def _without_folders(value: Any) -> Any:
    """A copy of a JSON value whose paths are names: a card is published, and folders are local."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        return {key: _without_folders(entry) for key, entry in entries}
    if isinstance(value, list):
        return [_without_folders(entry) for entry in cast("list[Any]", value)]
    if isinstance(value, str) and _is_path(value):
        return Path(value).name
    return value
