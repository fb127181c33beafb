"""The model card of an exported folder: what it is, how it was made, what was measured."""

import json
from collections.abc import Mapping
from typing import Any

from models.training.page import number, percent, points, ratio
from models.training.recipe import Recipe

_CARD = """---
base_model: {base}
tags: [reasoning, reasoning-effort, tops]
---

# {name}

Trained by the TOPS loop (arXiv 2502.18080): tags for the efforts {efforts}, fine-tuning on the
shortest correct answers, then DPO. This is the model of the stage `{stage}`; random seed {seed}.

## Use

The effort is told by `reasoning_effort`{placement}. Without one, or with `auto`, the model decides
by itself{untagged}.

    vllm serve FOLDER --reasoning-parser qwen3
    tops serve --engine vllm --model FOLDER

## Figures

{problems} held-out problems, {samples} samples each at temperature {temperature}; 95 % intervals by
bootstrap over problems.

| model, effort | accuracy | thinking tokens | tokens |
| --- | --- | --- | --- |
{policies}

| this against other | accuracy, points | tokens, ratio |
| --- | --- | --- |
{comparisons}

Router: {router}

## Limits

The figures are of the problems above, and no promise for others. Problems come from the recipe's
data alone; what resembles them least is what the model is worst at.

## Recipe

```json
{recipe}
```
"""


def card(recipe: Recipe, report: Mapping[str, Any], router: str, stage: str) -> str:
    """The card's Markdown."""
    scratch = recipe.model.scratch
    policies = "\n".join(
        f"| {one['model']}, {one['effort']} | {percent(one['accuracy'])} | "
        f"{number(one['thinking_tokens'])} | {number(one['tokens'])} |"
        for one in report["policies"]
    )
    comparisons = "\n".join(
        f"| {one['this']} against {one['other']} | {points(one['accuracy'])} | "
        f"{ratio(one['tokens_ratio'])} |"
        for one in report["comparisons"]
    )
    plain = recipe.model_dump(mode="json", exclude={"launch"})
    return _CARD.format(
        base="none, trained from scratch" if scratch else recipe.model.base,
        name=recipe.name,
        efforts=", ".join(recipe.model.efforts),
        stage=stage,
        seed=recipe.random_seed,
        placement=" in the system prompt" if recipe.model.placement == "system" else "",
        untagged="" if stage != "tag" else ": it was not trained to, at this stage",
        problems=report["problems"],
        samples=report["samples"],
        temperature=report["temperature"],
        policies=policies,
        comparisons=comparisons,
        router=router.replace("\n", "; "),
        recipe=json.dumps(plain, indent=1),
    )
