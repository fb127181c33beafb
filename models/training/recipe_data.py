"""Recipe tables of the problems: where they come from, and which of them are kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from models.training.public_sets import PUBLIC_SETS
from models.training.recipe_tuning import Count, Share, Table


class Columns(Table):
    """Column names of a data set; `None` where it has no such column.

    `options` are those of a multiple choice: a list of texts, an object by letter, or one of lists
    `text` and `label`. The prompt lists them by letter, and the answer is a letter, a label, a text
    or the number from 0. `tests` are statements that judge a program.
    """

    prompt: str = "prompt"
    answer: str = "answer"
    problem_id: str | None = "problem_id"
    difficulty: str | None = "difficulty"
    options: str | None = None
    tests: str | None = None


class Stories(Table):
    """`n` problems of the demo domain; `steps` are the smallest and largest numbers of steps.

    `retold` gives them in other words, some after a system message.
    """

    n: Count
    retold: bool = False
    split: Literal["train", "validation", "test"] = "train"
    seed: int = 0
    steps: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=10)]] = (1, 10)

    @field_validator("steps")
    @classmethod
    def _in_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError(f"steps are the smallest and the largest number, not {value}")
        return value


class ReasoningGym(Table):
    """`n` distinct items of a task of reasoning-gym; `difficulty` are fields of its configuration.

    Two seeds have no item in common, except where a task has few: those are removed as repeats.
    """

    task: str
    n: Count
    seed: Annotated[int, Field(ge=0)] = 0
    difficulty: Mapping[str, Any] = {}


class Source(Table):
    """Where problems come from.

    Demo `stories`, a task of `reasoning_gym`, a JSON Lines file (`path`), or a Hugging Face
    `dataset`.

    `public` sets the keys for a public set; any other key overrides it. `answer_in` says which part
    of the answer's column is the answer. `ask` is appended to each prompt. Rows whose answer is in
    `no_answers` are skipped. `limit` samples that many problems of a file or data set.
    """

    public: Literal["gsm8k", "math", "numinamath", "aime"] | None = None
    stories: Stories | None = None
    reasoning_gym: ReasoningGym | None = None
    path: Path | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    columns: Columns = Columns()
    answer_in: Literal["whole", "after ####", "boxed"] = "whole"
    ask: str = ""
    no_answers: Sequence[str] = ()
    limit: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _public(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        table = cast("dict[str, Any]", value)
        defaults = dict(PUBLIC_SETS.get(table.get("public", ""), {}))
        if "path" in table:
            defaults.pop("dataset", None)
        return {**defaults, **table}

    @model_validator(mode="after")
    def _one_origin(self) -> "Source":
        origins = (self.stories, self.reasoning_gym, self.path, self.dataset)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError(
                "a source needs exactly one of stories, reasoning_gym, path, dataset, public"
            )
        return self


class Data(Table):
    """Problems of the stages; repeats and problems of evaluation are removed from training.

    A training problem that shares `ngram` consecutive words with one of evaluation is contaminated
    and removed; 0 compares whole prompts only. A file is refused if a larger share of its lines
    than `most_broken` is broken.
    """

    seed: Sequence[Source] = ()
    train: Sequence[Source] = ()
    evaluate: Sequence[Source] = ()
    router: Sequence[Source] = ()
    ngram: Annotated[int, Field(ge=0)] = 13
    most_broken: Share = 0.01
