"""Recipe tables of generation: the engine that serves a checkpoint, and how it is sampled."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from models.training.recipe_tuning import Count, Share, Table


class Engine(Table):
    """The engine that serves a checkpoint while a stage generates from it.

    `embedded` is for models of a few million parameters. `llamacpp` is llama.cpp on the CPU, with
    weights of eight bits and a `context` of tokens for each of `concurrency` generations. `vllm`
    starts vLLM's server by `python`, the interpreter of an environment that has it. `urls` are
    engines that already serve the checkpoint.
    """

    kind: Literal["embedded", "llamacpp", "vllm", "urls"] = "vllm"
    python: str = "python"
    flags: Sequence[str] = ()
    urls: Sequence[str] = ()
    concurrency: Count = 64
    context: Count = 2048
    start_seconds: Count = 1800

    @model_validator(mode="after")
    def _complete(self) -> "Engine":
        if (self.kind == "urls") != bool(self.urls):
            raise ValueError('urls are needed with kind = "urls", and not otherwise')
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
    max_tokens: Count | None = None

    @property
    def fields(self) -> dict[str, float]:
        """Those of a request, besides the temperature."""
        names = ("top_p", "top_k", "min_p", "repetition_penalty")
        return {name: getattr(self, name) for name in names}
