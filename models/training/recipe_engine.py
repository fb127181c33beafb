"""Recipe tables of generation: the engine that serves a checkpoint, and how it is sampled."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from models.training.recipe_tuning import Count, Effort, Share, Table

Penalty = Annotated[float, Field(ge=-2, le=2)]

_SAMPLED = ("top_p", "top_k", "min_p", "repetition_penalty")


def flag_value(flags: Sequence[str], *names: str) -> int:
    """The number of one of these names in flags of vLLM, as `--name N` or `--name=N`; else 1."""
    words = [word for flag in flags for word in flag.partition("=")[::2] if word]
    values = [value for name, value in pairwise(words) if name.replace("_", "-") in names]
    return int(values[-1]) if values and values[-1].isdigit() else 1


def shards_of(flags: Sequence[str]) -> int:
    """The GPUs over which vLLM's flags divide the weights of a model."""
    pipeline = flag_value(flags, "--pipeline-parallel-size", "-pp")
    return flag_value(flags, "--tensor-parallel-size", "-tp") * pipeline


def gpus_of(flags: Sequence[str]) -> int:
    """The GPUs that one vLLM takes by its flags."""
    return shards_of(flags) * flag_value(flags, "--data-parallel-size", "-dp")


class Engine(Table):
    """The engine that serves a checkpoint while a stage generates from it.

    `embedded` is for models of a few million parameters. `llamacpp` is llama.cpp on the CPU, with
    weights of eight bits and a `context` of tokens for each of `concurrency` generations. `vllm`
    starts vLLM's server by `python`, the interpreter of an environment that has it. `urls` are
    engines that already serve the checkpoint, or a router before them, such as vllm-router.

    `replicas` engines are started, each on the next `gpus_each` of the GPUs, and share the
    requests; `concurrency` is that of all of them together. An engine that fails is left out,
    unless it is the last one.
    """

    kind: Literal["embedded", "llamacpp", "vllm", "urls"] = "vllm"
    python: str = "python"
    flags: Sequence[str] = ()
    replicas: Count = 1
    gpus_each: Count = 1
    urls: Sequence[str] = ()
    concurrency: Count = 64
    context: Count = 2048
    start_seconds: Count = 1800

    @model_validator(mode="after")
    def _complete(self) -> "Engine":
        if (self.kind == "urls") != bool(self.urls):
            raise ValueError('urls are needed with kind = "urls", and not otherwise')
        if self.kind == "urls" and self.replicas > 1:
            raise ValueError('replicas are started by this run: with kind = "urls", name each URL')
        if self.concurrency < self.replicas:
            raise ValueError(f"concurrency = {self.concurrency} leaves replicas without a request")
        if self.replicas > 1 and gpus_of(self.flags) > self.gpus_each:
            raise ValueError(
                f"flags have each of the replicas take {gpus_of(self.flags)} GPUs, and "
                f"gpus_each gives it {self.gpus_each}"
            )
        return self


class Sampling(Table):
    """Generations of each problem and effort, and how they are sampled.

    All of it is sent with each request, with a seed of its own, so that neither an engine's
    defaults nor those in a base's `generation_config.json` apply. A `top_k` of -1 is no limit.
    """

    samples: Count = 1
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = -1
    min_p: Share = 0.0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    presence_penalty: Penalty = 0.0
    max_tokens: Count | None = None

    @property
    def fields(self) -> dict[str, float]:
        """Those of a request, besides the temperature."""
        fields: dict[str, float] = {name: getattr(self, name) for name in _SAMPLED}
        if self.presence_penalty:  # 0 is every engine's default
            fields["presence_penalty"] = self.presence_penalty
        return fields


class Teacher(Table):
    """The model that writes the seed, behind an OpenAI-compatible endpoint.

    Its key is in `TOPS_UPSTREAM_API_KEY`. Without a `url`, the stage starts vLLM with `flags` and
    the replicas of `[engine]`, and ends it before anything is trained: teacher and training never
    hold the same GPUs. `instructions` are system prompts by effort; `models.training.seed` has the
    defaults. Ways to sample that are set are sent, and with `seeded` a seed for each request.
    """

    url: str | None = None
    model: str
    flags: Sequence[str] = ()
    instructions: Mapping[Effort, str] = {}
    temperature: float = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    presence_penalty: Penalty | None = None
    seeded: bool = True
    max_tokens: Count | None = None
    concurrency: Count = 16

    @property
    def fields(self) -> dict[str, float]:
        """Those of a request that are set, besides the temperature."""
        values = {name: getattr(self, name) for name in (*_SAMPLED, "presence_penalty")}
        return {name: value for name, value in values.items() if value is not None}
