"""The model card of an exported folder: its use, its results, its limits, and its recipe."""

import json
from collections.abc import Mapping
from typing import Any

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
    return render(
        "card.md.jinja",
        recipe=recipe,
        report=report,
        router=router.replace("\n", "; "),
        stage=stage,
        recipe_json=json.dumps(recipe.model_dump(mode="json", exclude={"launch"}), indent=1),
    )
