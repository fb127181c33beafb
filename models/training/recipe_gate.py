"""Recipe table of the gate: what a model must reach before the run goes on."""

from typing import Literal

from models.training.recipe_tuning import Count, Effort, Share, Table


class Gate(Table):
    """The run goes on after the stage `after` only if its model reaches `accuracy`.

    It is measured on the first `problems` of `data.evaluate`, one sample of each, sampled as
    `[evaluate]` says, at `effort`: by default the highest for `tag`, `auto` for `sft`. With
    `baseline`, the untouched base answers the same problems, at `auto`.
    """

    accuracy: Share
    problems: Count
    after: Literal["tag", "sft"] = "tag"
    effort: Effort | Literal["auto"] | None = None
    baseline: bool = False
