"""The stages in order: the stages that each needs, the recipe tables it depends on, its action.

    base -> seed -> tag -> generate -> verify -> select -> sft -> pairs -> dpo -> evaluate -> export

Further rounds of DPO add `pairs-2`, `dpo-2`, and so on. The paper's ablation, `sft-random`, adds
`select-random` and `sft-random` where the recipe evaluates it. The table `grpo` adds
a stage of this name; where it starts from the base, the stages are base, grpo, evaluate, export.
The table `retell` adds a stage that trains the SFT model of the demo domain on.
"""

import importlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from models.training.chat import Chat, add_tags, complete_ends
from models.training.evaluation import evaluate
from models.training.examples import (
    Example,
    read_examples,
    read_rows,
    write_examples,
    write_rows,
)
from models.training.export import export
from models.training.gate import gate
from models.training.generation import generate_from, judge
from models.training.grpo import reinforce
from models.training.hub import push
from models.training.launch import run_training
from models.training.mistakes import mark
from models.training.outcome_check import problems_of_outcomes
from models.training.pretrained import origin
from models.training.recipe import Recipe
from models.training.recipe_streamed import Scratch
from models.training.recipe_tuning import FineTuning
from models.training.run import RunError, Stage, StageContext, write_whole
from models.training.seed import problems_of, seed
from models.training.selection import Rule, chosen_answers, preference_pairs
from models.training.template_check import ChatError
from models.training.tuning import fine_tune, prefer

_PROBLEM_TABLES = (
    "data.seed",
    "data.train",
    "data.evaluate",
    "data.ngram",
    "data.most_broken",
    "verify",
)
_MODEL_TABLES = ("model",)
_GENERATION_TABLES = (*_PROBLEM_TABLES, *_MODEL_TABLES, "engine")


def stages_of(recipe: Recipe) -> dict[str, Stage]:
    """Every stage of a recipe by its name, in the order in which they run."""
    if recipe.grpo is not None and recipe.grpo.start == "base":
        base = Stage("base", (), _MODEL_TABLES, _base)
        last = _last_stages(recipe, ["base", "grpo"], "grpo")
        return _named([base, _grpo_stage("base"), *last])
    seed_tables = (*_PROBLEM_TABLES, *_MODEL_TABLES, "seed", "mistakes")
    generate_tables = (*_GENERATION_TABLES, "generate")
    stages = [
        Stage("base", (), _MODEL_TABLES, _base),
        Stage("seed", ("base",), seed_tables, _seed),
        Stage("tag", ("base", "seed"), (*_MODEL_TABLES, "tag"), _tag),
        *_gate_stages(recipe, "tag"),
        Stage("generate", ("base", "tag", "seed"), generate_tables, _generate),
        Stage("verify", ("generate",), _PROBLEM_TABLES, _verify),
    ]
    trained = ["tag"]
    if "sft-random" in recipe.evaluate.besides:
        stages += _sft_stages("random", "-random")
        trained.append("sft-random")
    stages += [*_sft_stages("shortest", ""), *_gate_stages(recipe, "sft")]
    trained.append("sft")
    for number in range(1, recipe.dpo.rounds + 1):
        stages += _dpo_stages(trained[-1], "" if number == 1 else f"-{number}")
        trained.append(stages[-1].name)
    exported = trained[-1] if recipe.export.stage == "dpo" else recipe.export.stage
    if recipe.grpo is not None:
        stages.append(_grpo_stage("sft"))
        trained.append("grpo")
    if recipe.retell is not None:
        stages.append(Stage("retell", ("sft",), (*_MODEL_TABLES, "retell"), _retell))
        trained.append("retell")
    named = {"tag", *recipe.evaluate.besides}
    evaluated = [name for name in trained if name in named or name.rpartition("-")[0] in named]
    gated = [_behind_gate(recipe, stage) for stage in stages]
    return _named([*gated, *_last_stages(recipe, evaluated, exported)])


def _named(stages: Sequence[Stage]) -> dict[str, Stage]:
    return {stage.name: stage for stage in stages}


def _last_stages(recipe: Recipe, evaluated: Sequence[str], exported: str) -> list[Stage]:
    evaluate_tables = (*_GENERATION_TABLES, "evaluate", "select", "export.stage")
    export_tables = (*_GENERATION_TABLES, "data.router", "generate", "export", "hub.license")
    stages = [
        Stage("evaluate", evaluated, evaluate_tables, partial(evaluate, exported)),
        Stage("export", (exported, "evaluate"), export_tables, export),
    ]
    if recipe.hub is not None:
        stages.append(Stage("push", ("export",), ("hub",), push))
    return stages


def _gate_stages(recipe: Recipe, after: str) -> list[Stage]:
    if recipe.gate is None or recipe.gate.after != after:
        return []
    return [Stage("gate", ("base", after), (*_GENERATION_TABLES, "evaluate", "gate"), gate)]


def _behind_gate(recipe: Recipe, stage: Stage) -> Stage:
    """The stage; one that samples from the model that the gate measures needs the gate too."""
    sampling = ("generate", "pairs", "grpo")
    if recipe.gate is None or stage.name not in sampling or recipe.gate.after not in stage.needs:
        return stage
    return replace(stage, needs=(*stage.needs, "gate"))


def _sft_stages(rule: Rule, suffix: str) -> list[Stage]:
    select, sft = f"select{suffix}", f"sft{suffix}"
    select_tables = (*_MODEL_TABLES, "select", "mistakes")
    return [
        Stage(select, ("seed", "verify"), select_tables, partial(_select, rule)),
        Stage(sft, ("base", select), (*_MODEL_TABLES, "sft"), partial(_sft, select)),
    ]


def _dpo_stages(start: str, suffix: str) -> list[Stage]:
    """Pairs sampled from the model of the stage `start`, and DPO of that model on them."""
    pairs, dpo = f"pairs{suffix}", f"dpo{suffix}"
    pairs_tables, dpo_tables = (*_GENERATION_TABLES, "pairs"), (*_MODEL_TABLES, "dpo")
    return [
        Stage(pairs, (start,), pairs_tables, partial(_pairs, start)),
        Stage(dpo, ("base", start, pairs), dpo_tables, partial(_dpo, start, pairs)),
    ]


def _grpo_stage(start: str) -> Stage:
    """GRPO of the model of the stage `start`, on the training problems."""
    needs = tuple(dict.fromkeys(("base", start)))
    return Stage("grpo", needs, (*_PROBLEM_TABLES, *_MODEL_TABLES, "grpo"), partial(_grpo, start))


def _transformers() -> Any:
    """The library, loaded by the stages that need it: it takes seconds and has no types."""
    return importlib.import_module("transformers")


def _base(context: StageContext) -> Mapping[str, Any]:
    """Train a base from scratch, or save the tokenizer of an existing one with its effort tags."""
    transformers = _transformers()
    model = context.recipe.model
    if model.scratch is not None:
        return _from_scratch(context, model.scratch)
    try:
        source = origin(str(model.base))
        config = transformers.AutoConfig.from_pretrained(**source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    except (OSError, ValueError) as error:
        raise RunError(f"the base {model.base} cannot be loaded: {error}") from error
    if len(tokenizer) > config.get_text_config().vocab_size:
        raise RunError(
            f"the tokenizer of {model.base} has {len(tokenizer)} tokens and its model embeds "
            f"{config.get_text_config().vocab_size}: they do not belong together"
        )
    if tokenizer.chat_template is None:
        raise RunError(f"the tokenizer of {model.base} has no chat template: use an instruct model")
    if model.add_tokens:
        tokenizer.add_tokens(list(model.add_tokens))
    try:
        complete_ends(tokenizer)
        if model.placement == "generation":
            add_tags(tokenizer, {**model.tags})
        Chat.of(model, tokenizer)
    except ChatError as error:
        raise RunError(f"the base {model.base} cannot receive efforts: {error}") from error
    tokenizer.save_pretrained(context.folder / "tokenizer")
    return {"base": model.base}


def _from_scratch(context: StageContext, scratch: Scratch) -> Mapping[str, Any]:
    settings = {"scratch": scratch.model_dump(mode="json"), "seed": context.recipe.random_seed}
    return _streamed(context, "models.training.base", "scratch.json", settings)


def _streamed(
    context: StageContext, module: str, file: str, settings: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Run the module's training with the settings in `file`, unless it has written its model."""
    if not (context.folder / "model").is_dir():
        write_whole(context.folder / file, json.dumps(settings, indent=1) + "\n")
        run_training(context.recipe.launch, module, context.folder)
    return json.loads((context.folder / "training.json").read_text())


def _chat(context: StageContext) -> Chat:
    """The chat of the run's tokenizer, which all stages share.

    Raises:
        RunError: it cannot be read, or renders two of the recipe's efforts alike.
    """
    base = context.inputs["base"]
    try:
        tokenizer = _transformers().AutoTokenizer.from_pretrained(base / "tokenizer")
        return Chat.of(context.recipe.model, tokenizer)
    except (OSError, ValueError, ChatError) as error:
        raise RunError(f"the tokenizer of {base} cannot be used: {error}") from error


def _base_model(context: StageContext) -> str:
    scratch = context.inputs["base"] / "model"
    return str(scratch) if scratch.is_dir() else str(context.recipe.model.base)


def _seed(context: StageContext) -> Mapping[str, Any]:
    return seed(context, _chat(context))


def _tag(context: StageContext) -> Mapping[str, Any]:
    return _fine_tune(context, "seed", context.recipe.tag)


def _generate(context: StageContext) -> Mapping[str, Any]:
    recipe, counts = context.recipe, Counter[str]()
    problems = problems_of(recipe, counts)
    generate_from(
        recipe,
        context.inputs["tag"] / "model",
        problems,
        recipe.model.efforts,
        recipe.generate,
        context.folder / "generations.jsonl",
        counts,
    )
    return {"problems": len(problems), **counts}


def _verify(context: StageContext) -> Mapping[str, Any]:
    counts = Counter[str]()
    problems = problems_of(context.recipe, Counter())
    generations = context.inputs["generate"] / "generations.jsonl"
    outcomes = context.folder / "outcomes.jsonl"
    judge(context.recipe, problems, generations, outcomes, counts)
    if not counts["correct"]:
        reasons = "; ".join(problems_of_outcomes(list(read_rows(outcomes))))
        raise RunError(f"{outcomes} leaves nothing to train on: {reasons}")
    return counts


def _select(rule: Rule, context: StageContext) -> Mapping[str, Any]:
    recipe, counts = context.recipe, Counter[str]()
    outcomes = read_rows(context.inputs["verify"] / "outcomes.jsonl")
    seeds = read_examples(context.inputs["seed"] / "examples.jsonl")
    chosen = chosen_answers(
        outcomes, seeds, rule, recipe.select, recipe.model.efforts, recipe.random_seed, counts
    )
    marked = mark(chosen, recipe.mistakes, context.folder / "critic.jsonl", counts, seeds)
    return {**counts, "examples": write_examples(context.folder / "examples.jsonl", marked)}


def _sft(select: str, context: StageContext) -> Mapping[str, Any]:
    return _fine_tune(context, select, context.recipe.sft)


def _fine_tune(context: StageContext, source: str, settings: FineTuning) -> Mapping[str, Any]:
    """Fine-tune the base model on the examples of the stage `source`."""
    examples = read_examples(context.inputs[source] / "examples.jsonl")
    model, chat = _base_model(context), _chat(context)
    return fine_tune(context.recipe, settings, model, chat, examples, context.folder)


def _pairs(start: str, context: StageContext) -> Mapping[str, Any]:
    """Sample from the model of the stage `start`, judge the answers, and pair them."""
    recipe, counts = context.recipe, Counter[str]()
    problems = problems_of(recipe, counts)
    generations = context.folder / "generations.jsonl"
    outcomes = context.folder / "outcomes.jsonl"
    model = context.inputs[start] / "model"
    generate_from(recipe, model, problems, ["auto"], recipe.pairs, generations, counts)
    judge(recipe, problems, generations, outcomes, counts)
    pairs = preference_pairs(read_rows(outcomes), counts)
    write_rows(
        context.folder / "pairs.jsonl",
        ({"chosen": vars(chosen), "rejected": vars(rejected)} for chosen, rejected in pairs),
    )
    return counts


def _dpo(start: str, pairs: str, context: StageContext) -> Mapping[str, Any]:
    rows = read_rows(context.inputs[pairs] / "pairs.jsonl")
    examples = [(Example(**row["chosen"]), Example(**row["rejected"])) for row in rows]
    recipe, model = context.recipe, str(context.inputs[start] / "model")
    return prefer(recipe, recipe.dpo, model, _chat(context), examples, context.folder)


def _grpo(start: str, context: StageContext) -> Mapping[str, Any]:
    recipe, counts = context.recipe, Counter[str]()
    assert recipe.grpo is not None
    problems, chat = problems_of(recipe, counts), _chat(context)
    model = _base_model(context) if start == "base" else str(context.inputs[start] / "model")
    return {**counts, **reinforce(recipe, recipe.grpo, model, chat, problems, context.folder)}


def _retell(context: StageContext) -> Mapping[str, Any]:
    """Train the SFT model on with stories in other words."""
    recipe = context.recipe
    assert recipe.retell is not None
    start = str(context.inputs["sft"] / "model")
    settings = {"retell": recipe.retell.model_dump(mode="json"), "start": start}
    return _streamed(context, "models.training.retell", "retell.json", settings)
