"""The model card of an exported folder: its use, its results, its limits, and its recipe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from models.training.recipe import Recipe
from models.training.templates import render


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
        base=base and _without_folders(base),
        base_on_hub=base is not None and not _is_path(base),
        rounds=recipe.dpo.rounds if stage.startswith("dpo") else 0,
        report=report,
        router=router.replace("\n", "; "),
        stage=stage,
        recipe_json=json.dumps(
            _without_folders(recipe.model_dump(mode="json", exclude={"launch"})), indent=1
        ),
    )


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
