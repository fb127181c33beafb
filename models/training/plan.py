"""`tops train plan`: what a recipe's stages take, before any of them runs.

An estimate from formulas, for the longest sample that the recipe admits: bytes per parameter of
float32 weights, gradients and AdamW (16), or of a bfloat16 base (2) with such adapters; a bfloat16
copy of each layer's input for every token where activations are recomputed. Keys and values of
generation take what `engine.concurrency` wants of the memory that is left, and at least one
sequence. Logits are computed in chunks by TRL and left out. Samples are those of the recipe's
`limit`s and `n`s, before removal of repeats. The teacher of a seed is left out: its size and speed
are not known.
"""

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.training.recipe import Recipe, Sampling
from models.training.recipe_data import Source
from models.training.recipe_engine import flag_value, gpus_of, shards_of
from models.training.recipe_grpo import Grpo
from models.training.recipe_plan import Dimensions, Plan
from models.training.recipe_tuning import FineTuning, Preference, Training, Tuning
from models.training.run import RunError

_GIB = 2**30
_TRAINED_BYTES = 16
_BASE_BYTES = 2
_REFERENCE_BYTES = 4
_RECOMPUTED_LAYER_WIDTHS = 10
"""Hidden vectors that one layer keeps while it is recomputed, besides three of its MLP."""


@dataclass(frozen=True)
class Row:
    """One stage; memory is in GiB of each GPU, and `samples` counts completions."""

    stage: str
    samples: int
    tokens: int
    weights: float
    optimizer: float
    activations: float
    kv: float
    hours: float

    @property
    def gib(self) -> float:
        return self.weights + self.optimizer + self.activations + self.kv

    def fits(self, plan: Plan) -> bool:
        return self.gib <= plan.gpu_gib + 1e-6


def plan_of(recipe: Recipe) -> list[Row]:
    """The stages of a recipe that take a GPU, in order.

    Raises:
        RunError: the recipe has no table `plan`, or no dimensions, or no known number of problems,
            or takes more GPUs than there are.
    """
    if recipe.plan is None:
        raise RunError(
            "the recipe has no table [plan]: state gpus, gpu_gib, tokens, train_speed and "
            "generate_speed (docs/guides/train.md)"
        )
    _check_gpus(recipe, recipe.plan)
    return _Planner(recipe, recipe.plan, _dimensions(recipe, recipe.plan)).rows()


def _check_gpus(recipe: Recipe, plan: Plan) -> None:
    gpus_by_user = {"launch.processes": recipe.launch.processes}
    engine, teacher = recipe.engine, recipe.seed.teacher
    if engine.kind == "vllm":
        own = engine.gpus_each if engine.replicas > 1 else 1
        gpus_by_user["engine"] = engine.replicas * max(own, gpus_of(engine.flags))
        if recipe.seed.source == "teacher" and teacher is not None and teacher.url is None:
            gpus_by_user["seed.teacher"] = engine.replicas * max(own, gpus_of(teacher.flags))
    for name, gpus in gpus_by_user.items():
        if gpus > plan.gpus:
            raise RunError(f"{name} takes {gpus} GPUs, and plan.gpus is {plan.gpus}")


def check_fits(rows: Sequence[Row], plan: Plan) -> None:
    """Refuse stages that take more memory than a GPU has.

    Raises:
        RunError: at least one of them; the message says how much each lacks.
    """
    failing = [row for row in rows if not row.fits(plan)]
    if failing:
        needs = ", ".join(f"{row.stage} needs {row.gib:.0f} GiB" for row in failing)
        raise RunError(
            f"does not fit {_gpus(plan)} of {plan.gpu_gib:g} GiB: {needs}. More GPUs in the "
            "accelerate configuration (and plan.gpus), lora, gradient_checkpointing or a shorter "
            "max_length take less"
        )


def _gpus(plan: Plan) -> str:
    return "1 GPU" if plan.gpus == 1 else f"{plan.gpus} GPUs"


def plan_text(rows: Sequence[Row], plan: Plan) -> str:
    """The plan as a table."""
    head = (
        "stage",
        "samples",
        "tokens",
        "weights",
        "optimizer",
        "activations",
        "kv",
        "GiB/GPU",
        "h",
    )
    lines = [
        (
            row.stage,
            f"{row.samples:,}",
            f"{row.tokens / 1e6:,.1f}M",
            *(f"{value:.1f}" for value in (row.weights, row.optimizer, row.activations, row.kv)),
            f"{row.gib:.1f}{'' if row.fits(plan) else ' !'}",
            f"{row.hours:.1f}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (head, *lines)
    ]
    total = sum(row.hours for row in rows)
    return "\n".join(
        [
            *table,
            f"{total:.1f} hours on {_gpus(plan)} of {plan.gpu_gib:g} GiB, at the stated tokens "
            f"per second: {plan.train_speed:,.0f} trained, {plan.generate_speed:,.0f} generated",
            "Estimates for samples of max_length; memory in GiB of each GPU. ! does not fit",
        ]
    )


class _Planner:
    def __init__(self, recipe: Recipe, plan: Plan, size: Dimensions) -> None:
        self._recipe, self._plan, self._size = recipe, plan, size
        self._mean = sum(plan.tokens.values()) / len(plan.tokens)
        self._shards = plan.gpus if recipe.launch.accelerate is not None else 1

    def rows(self) -> list[Row]:
        recipe, plan = self._recipe, self._plan
        efforts = len(recipe.model.efforts)
        from_base = recipe.grpo is not None and recipe.grpo.start == "base"
        rows = [] if from_base else self._loop()
        if recipe.grpo is not None:
            rows.append(self._reinforcement(recipe.grpo, min(plan.tokens.values())))
        besides = [recipe.dpo.rounds if n == "dpo" else 1 for n in recipe.evaluate.besides]
        judged = problems(recipe.data.evaluate, plan) * (efforts + sum(besides))
        rows.append(self._generation("evaluate", judged, recipe.evaluate, self._mean))
        if recipe.data.router:
            routed = problems(recipe.data.router, plan)
            routed *= len(recipe.export.router_efforts or ()) or efforts + 1
            rows.append(self._generation("export", routed, Sampling(), self._mean))
        return rows

    def _loop(self) -> list[Row]:
        """Stages from the seed to the last round of DPO."""
        recipe, plan = self._recipe, self._plan
        train, seed = problems(recipe.data.train, plan), self._seed()
        shortest = min(plan.tokens.values())
        learned = train + (seed if recipe.select.keep_tags else 0)
        generated = train * len(recipe.model.efforts)
        rows = [
            self._training("tag", recipe.tag, seed, self._mean),
            self._generation("generate", generated, recipe.generate, self._mean),
        ]
        if "sft-random" in recipe.evaluate.besides:
            rows.append(self._training("sft-random", recipe.sft, learned, self._mean))
        rows.append(self._training("sft", recipe.sft, learned, shortest))
        if recipe.gate is not None:
            measured = recipe.gate.problems * (2 if recipe.gate.baseline else 1)
            once = recipe.evaluate.model_copy(update={"samples": 1})
            after = 1 if recipe.gate.after == "tag" else len(rows)
            rows.insert(after, self._generation("gate", measured, once, self._mean))
        for number in range(1, recipe.dpo.rounds + 1):
            end = "" if number == 1 else f"-{number}"
            rows.append(self._generation(f"pairs{end}", train, recipe.pairs, shortest))
            pairs = round(train * plan.paired)
            rows.append(self._training(f"dpo{end}", recipe.dpo, 2 * pairs, shortest))
        return rows

    def _seed(self) -> int:
        """The solutions that the tag model learns."""
        recipe, plan = self._recipe, self._plan
        if recipe.seed.source == "file" and recipe.seed.path is not None:
            return _lines(recipe.seed.path)
        solved = problems(recipe.data.seed, plan) * plan.seed_kept
        return round(solved) * len(recipe.model.efforts)

    def _training(self, stage: str, settings: Tuning, samples: int, mean: float) -> Row:
        is_preference = isinstance(settings, Preference)
        of_a_row = 2 if is_preference else 1
        if isinstance(settings, FineTuning) and settings.shared_prompts:
            of_a_row = len(self._recipe.model.efforts)
        limit = (settings.max_steps or math.inf) * settings.batch * of_a_row
        trained = min(samples * settings.epochs, limit)
        tokens = round(trained * (self._plan.prompt_tokens + mean))
        together = settings.micro_batch * settings.max_length * (2 if is_preference else 1)
        weights, optimizer = self._weights(settings, is_preference)
        hours = tokens / self._plan.train_speed / 3600
        activations = self._activations(settings, together)
        return Row(stage, samples, tokens, weights, optimizer, activations, 0.0, hours)

    def _reinforcement(self, settings: Grpo, mean: float) -> Row:
        samples = settings.steps * settings.batch
        longest = max(goal.limit for goal in settings.efforts.values()) + self._plan.prompt_tokens
        weights, optimizer = self._weights(settings, settings.beta > 0)
        tokens = round(samples * (self._plan.prompt_tokens + mean))
        drawn = samples * (1 + settings.redraws) * mean  # at most
        hours = (tokens / self._plan.train_speed + drawn / self._plan.generate_speed) / 3600
        kv = settings.batch / self._plan.gpus * longest * self._size.kv_bytes / _GIB
        activations = self._activations(settings, settings.micro_batch * longest)
        return Row("grpo", samples, tokens, weights, optimizer, activations, kv, hours)

    def _generation(self, stage: str, prompts: int, sampling: Sampling, mean: float) -> Row:
        recipe, plan = self._recipe, self._plan
        samples = prompts * sampling.samples
        tokens = round(samples * mean)
        flags = recipe.engine.flags
        shards = shards_of(flags)
        replicas = recipe.engine.replicas * flag_value(flags, "--data-parallel-size", "-dp")
        weights = self._size.parameters * _BASE_BYTES / shards / _GIB
        token = self._size.kv_bytes / shards / _GIB
        concurrent = min(samples, recipe.engine.concurrency) / replicas
        wanted = concurrent * (plan.prompt_tokens + mean) * token
        longest = (plan.prompt_tokens + (sampling.max_tokens or mean)) * token
        kv = max(longest, min(wanted, plan.gpu_gib - weights))
        return Row(stage, samples, tokens, weights, 0, 0, kv, tokens / plan.generate_speed / 3600)

    def _weights(self, settings: Training, reference: bool) -> tuple[float, float]:
        """Weights with a reference model's, and gradients with AdamW's state, in GiB."""
        if settings.lora is not None:
            adapters = self._size.adapter_parameters(settings.lora.rank)
            base = self._size.parameters * _BASE_BYTES + adapters * 4
            return base / _GIB, adapters * (_TRAINED_BYTES - 4) / _GIB
        shard = self._size.parameters / self._shards / _GIB
        weights = 4 + (_REFERENCE_BYTES if reference else 0)
        return shard * weights, shard * (_TRAINED_BYTES - 4)

    def _activations(self, settings: Training, tokens: int) -> float:
        size = self._size
        layer = tokens * (_RECOMPUTED_LAYER_WIDTHS * size.hidden + 3 * size.intermediate) * 2
        if not settings.gradient_checkpointing:
            return size.layers * layer / _GIB
        return (size.layers * tokens * size.hidden * 2 + layer) / _GIB


def problems(sources: Sequence[Source], plan: Plan) -> int:
    """The number of problems of sources.

    Raises:
        RunError: neither the recipe nor a file tells it.
    """
    total = 0
    for source in sources:
        name = source.dataset or str(source.path)
        if generated := source.stories or source.reasoning_gym:
            total += generated.n
        elif source.limit is not None:
            total += source.limit
        elif name in plan.sizes:
            total += plan.sizes[name]
        elif source.path is not None and source.path.is_file():
            total += _lines(source.path)
        else:
            raise RunError(f"the number of problems of {name} is unknown: state it in plan.sizes")
    return total


def _lines(file: Path) -> int:
    """The lines of a file, gzipped if it is named so.

    Raises:
        RunError: it cannot be read.
    """
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as lines:
            return sum(1 for line in lines if line.strip())
    except (OSError, EOFError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error


def _dimensions(recipe: Recipe, plan: Plan) -> Dimensions:
    if plan.dimensions is not None:
        return plan.dimensions
    file = Path(str(recipe.model.base)) / "config.json"
    if not file.is_file():
        raise RunError(
            f"the dimensions of {recipe.model.base} are unknown: state [plan.dimensions], or give "
            "a base folder with its config.json"
        )
    return dimensions_of(json.loads(file.read_text()))


def dimensions_of(config: dict[str, Any]) -> Dimensions:
    """The dimensions in a `config.json`, of its language model where it has several parts.

    Raises:
        RunError: it lacks one.
    """
    config = config.get("text_config", config)
    try:
        heads = config["num_attention_heads"]
        return Dimensions(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads", heads),
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise RunError(f"config.json has no {error}: state [plan.dimensions]") from error
