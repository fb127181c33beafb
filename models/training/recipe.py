"""A training recipe: every setting of a run, typed; unknown keys are errors.

Lengths are in tokens of the trained model's tokenizer unless they say otherwise. Defaults are the
settings of the TOPS paper (arXiv 2502.18080) where it gives one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from models.training.recipe_data import Data
from models.training.recipe_engine import Engine, Sampling, Teacher
from models.training.recipe_gate import Gate
from models.training.recipe_grpo import Grpo
from models.training.recipe_hub import Hub
from models.training.recipe_plan import Plan
from models.training.recipe_streamed import Retell, Scratch
from models.training.recipe_tuning import (
    Count,
    Effort,
    FineTuning,
    Preference,
    Share,
    Table,
    Training,
)


class Model(Table):
    """The base model, and how it receives an effort.

    `base` is a folder, a GGUF file or a Hugging Face name. With `placement = "generation"` the chat
    template adds the effort's tag after the last turn, by its variable `reasoning_effort`; `tags`
    adds this to a template that lacks it. With `"system"` the effort is one of `system_prompts`, as
    in the paper.
    """

    base: str | None = None
    scratch: Scratch | None = None
    efforts: Sequence[Effort] = ("low", "medium", "high")
    placement: Literal["generation", "system"] = "generation"
    tags: Mapping[Effort, str] = {}
    system_prompts: Mapping[Effort, str] = {}
    add_tokens: Sequence[str] = ()
    transition: str = "\nTime is up, so I answer with what I have.\n"

    @model_validator(mode="after")
    def _complete(self) -> "Model":
        if (self.base is None) == (self.scratch is None):
            raise ValueError("a model needs either base or scratch")
        if len(self.efforts) < 2 or len(set(self.efforts)) < len(self.efforts):
            raise ValueError("efforts must be two or more different ones, cheapest first")
        if list(self.efforts) != sorted(self.efforts, key=get_args(Effort).index):
            raise ValueError(f"efforts are not cheapest first: {', '.join(get_args(Effort))}")
        if self.system_prompts and self.placement != "system":
            raise ValueError('system_prompts need placement = "system"')
        if self.tags and self.placement == "system":
            raise ValueError('tags need placement = "generation"')
        if self.placement == "system" and not set(self.efforts) <= set(self.system_prompts):
            raise ValueError('placement = "system" needs one of system_prompts for each effort')
        return self

    @property
    def system(self) -> dict[str, str] | None:
        """The system prompts by effort; None where the chat template adds a tag instead."""
        return {**self.system_prompts} if self.placement == "system" else None


class Seed(Table):
    """The seed: problems solved at every effort, by a teacher, in a file, or from the demo domain.

    `only_right` keeps the problems that are solved at every effort, as in the paper. Turn it off
    where the lowest effort never solves the hardest problems, or the seed has none of those.
    `min_gap` is the smallest difference in tokens between neighbouring efforts. `slips` is the
    share of the demo domain's worked steps that are wrong at first and then corrected. The form of
    a file is in `models.training.seed_file`.
    """

    source: Literal["teacher", "file", "stories"] = "teacher"
    teacher: Teacher | None = None
    path: Path | None = None
    only_right: bool = True
    min_gap: Annotated[int, Field(ge=0)] = 0
    slips: Share = 0

    @model_validator(mode="after")
    def _complete(self) -> "Seed":
        if self.source == "teacher" and self.teacher is None:
            raise ValueError("a seed from a teacher needs [seed.teacher] with its model")
        if self.source == "file" and self.path is None:
            raise ValueError("a seed from a file needs its path")
        return self


class Launch(Table):
    """How a training runs: in `processes` of this machine, or by an accelerate configuration.

    It reports its steps to `report_to`, tools that transformers knows, such as `wandb`, `mlflow` or
    `trackio`; each must be installed.
    """

    processes: Count = 1
    report_to: Sequence[str] = ("tensorboard",)
    accelerate: Path | None = None


class Evaluation(Sampling):
    """How models are evaluated, and which ones `besides` the tag model.

    `dpo` covers every round; `sft-random` is the paper's ablation, trained on random correct
    answers.
    """

    samples: Count = 4
    besides: Sequence[Literal["sft-random", "sft", "dpo", "grpo", "retell"]] = ("sft", "dpo")


class Verify(Table):
    """How answers are judged, see `models.outcomes.verify.Judge`.

    `by` is a way of judging or a user's `module:function`; `seconds` is the limit for an answer.
    `run_code` allows that programs of the model are run, in a sandbox, for problems with tests.
    """

    by: str = "auto"
    processes: Count = 2
    seconds: Annotated[float, Field(gt=0)] = 10
    run_code: bool = False


class Selection(Table):
    """Training data besides the shortest correct answers.

    `with_seed_low` adds the seed's answers at the lowest effort, as in the paper. `keep_tags` adds
    the entire seed with its tags, so that the model obeys a tag, and chooses the effort without.
    """

    with_seed_low: bool = True
    keep_tags: bool = False


class Critic(Table):
    """A model behind an endpoint that names the wrong steps of a solution."""

    url: str
    model: str
    concurrency: Count = 16


class Mistakes(Table):
    """How wrong steps in training data are found, and whether to mask, train or drop them.

    `arithmetic` checks the equations of each sentence.
    """

    found_by: Literal["nobody", "arithmetic", "critic"] = "nobody"
    critic: Critic | None = None
    then: Literal["mask", "train", "drop"] = "mask"

    @model_validator(mode="after")
    def _complete(self) -> "Mistakes":
        if self.found_by == "critic" and self.critic is None:
            raise ValueError("a critic needs [mistakes.critic] with url and model")
        return self


class Export(Table):
    """The stage whose model is exported; `dpo` is the last round.

    `ctranslate2` adds weights for the embedded engine. `temperature` and `top_p` are what the
    engine takes for requests without them, unless the base has defaults of its own. The router is
    fitted on generations with those defaults for `data.router` at `router_efforts`: by default
    those of the model, and `none` where its template takes it. Without such problems, or where the
    model was not trained at its efforts (`select.keep_tags`), there is none.
    """

    stage: Literal["tag", "sft", "dpo", "grpo", "retell"] = "dpo"
    ctranslate2: bool = True
    temperature: Annotated[float, Field(gt=0)] = 0.6
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    router_efforts: Annotated[Sequence[Effort], Field(min_length=1)] | None = None
    max_loss: Share = 0.01


class Recipe(Table):
    """All settings of a run; `random_seed` seeds data order, data sampling and new weights.

    Without the tables `gate`, `grpo`, `hub` and `retell` there are no such stages. `plan` is for
    `tops train plan` alone.
    """

    name: str
    random_seed: int = 0
    model: Model
    data: Data = Data()
    seed: Seed
    tag: FineTuning = FineTuning()
    generate: Sampling = Sampling()
    engine: Engine = Engine()
    verify: Verify = Verify()
    select: Selection = Selection()
    mistakes: Mistakes = Mistakes()
    sft: FineTuning = FineTuning(batch=96, epochs=2)
    pairs: Sampling = Sampling(samples=8)
    dpo: Preference = Preference()
    grpo: Grpo | None = None
    gate: Gate | None = None
    retell: Retell | None = None
    launch: Launch = Launch()
    evaluate: Evaluation = Evaluation()
    export: Export = Export()
    hub: Hub | None = None
    plan: Plan | None = None

    @model_validator(mode="after")
    def _retold(self) -> "Recipe":
        named = self.export.stage == "retell" or "retell" in self.evaluate.besides
        if self.retell is None and named:
            raise ValueError("evaluating or exporting retell needs the table [retell]")
        return self

    @model_validator(mode="after")
    def _batches(self) -> "Recipe":
        from_base = self.grpo is not None and self.grpo.start == "base"
        stages: dict[str, Training | None] = {"grpo": self.grpo}
        if not from_base:
            stages |= {
                "tag": self.tag,
                "sft": self.sft,
                "dpo": self.dpo if self.dpo.rounds else None,
            }
        processes = self.launch.processes if self.launch.accelerate is None else 1
        for name, settings in stages.items():
            if settings is not None and settings.batch % (settings.micro_batch * processes):
                raise ValueError(
                    f"{name}.batch = {settings.batch} does not divide into {processes} "
                    f"launch.processes with {name}.micro_batch = {settings.micro_batch}"
                )
        grpo = self.grpo
        if grpo is not None and grpo.batch // processes * grpo.updates % grpo.samples:
            raise ValueError(
                f"each of {processes} launch.processes has {grpo.batch // processes} rollouts of "
                f"grpo.batch, no multiple of grpo.samples = {grpo.samples}"
            )
        return self

    @model_validator(mode="after")
    def _routed(self) -> "Recipe":
        unknown = {*(self.export.router_efforts or ())} - {*self.model.efforts, "none"}
        if unknown:
            raise ValueError(
                f"export.router_efforts has {', '.join(sorted(unknown))}, model.efforts not"
            )
        return self

    @model_validator(mode="after")
    def _teacher_starts(self) -> "Recipe":
        teacher = self.seed.teacher if self.seed.source == "teacher" else None
        if teacher is not None and teacher.url is None and self.engine.kind != "vllm":
            raise ValueError('seed.teacher needs its url: only engine.kind = "vllm" starts one')
        return self

    @model_validator(mode="after")
    def _gated(self) -> "Recipe":
        if self.gate is not None:
            known = {*self.model.efforts, "auto"}
            if self.gate.effort not in (None, *known):
                raise ValueError(f"gate.effort is none of {', '.join(sorted(known))}")
            if self.grpo is not None and self.grpo.start == "base":
                raise ValueError('grpo.start = "base" has no stage tag or sft for a gate')
        return self

    @model_validator(mode="after")
    def _reinforced(self) -> "Recipe":
        if self.grpo is None:
            if self.export.stage == "grpo" or "grpo" in self.evaluate.besides:
                raise ValueError("evaluating or exporting grpo needs the table [grpo]")
            return self
        unknown = set(self.grpo.efforts) - {*self.model.efforts, "auto"}
        if unknown:
            raise ValueError(f"grpo.efforts has {', '.join(sorted(unknown))}, model.efforts not")
        if self.grpo.start == "base" and self.export.stage != "grpo":
            raise ValueError('grpo.start = "base" leaves out tag, sft and dpo: export.stage="grpo"')
        return self
