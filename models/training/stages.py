"""The stages in their order: what each needs, which tables of the recipe it goes by, what it does.

    base -> seed -> tag -> generate -> verify -> select -> sft -> pairs -> dpo -> evaluate -> export

Further rounds repeat the last two trainings' stages as `pairs-2`, `dpo-2`, and so on. Where
`sft-random` is to be evaluated, the paper's ablation, `select-random` and `sft-random` make it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from models.training.chat import Chat, ChatError, tagged
from models.training.evaluation import evaluate
from models.training.examples import (
    Example,
    read_examples,
    read_rows,
    write_examples,
    write_rows,
)
from models.training.export import export
from models.training.generation import generate_from, judge
from models.training.launch import launched
from models.training.mistakes import mark
from models.training.recipe import Recipe, Scratch
from models.training.run import RunError, Stage, Work, write_whole
from models.training.seed import problems_of, seed
from models.training.selection import Rule, chosen_answers, preference_pairs
from models.training.tuning import fine_tune, prefer


def stages_of(recipe: Recipe) -> dict[str, Stage]:
    """Every stage of a recipe by its name, in the order in which they run."""
    problems = ("data.seed", "data.train", "data.evaluate", "data.ngram", "data.most_broken")
    asked, told = (*problems, "verify"), ("model",)
    answered = (*asked, *told, "engine")
    stages = [
        Stage("base", (), told, _base),
        Stage("seed", ("base",), (*asked, *told, "seed", "mistakes"), _seed),
        Stage("tag", ("base", "seed"), (*told, "tag"), _tag),
        Stage("generate", ("base", "tag", "seed"), (*answered, "generate"), _generate),
        Stage("verify", ("generate",), asked, _verify),
    ]
    trained = ["tag"]
    for end in ("-random", "") if "sft-random" in recipe.evaluate.besides else ("",):
        rule, needed = "random" if end else "shortest", ("base", f"select{end}")
        select = partial(_select, rule)
        stages += [
            Stage(needed[1], ("seed", "verify"), (*told, "select", "mistakes"), select),
            Stage(f"sft{end}", needed, (*told, "sft"), partial(_sft, needed[1])),
        ]
        trained.append(f"sft{end}")
    for number in range(1, recipe.dpo.rounds + 1):
        before, end = trained[-1], "" if number == 1 else f"-{number}"
        pairs = Stage(f"pairs{end}", (before,), (*answered, "pairs"), partial(_pairs, before))
        names = ("base", before, pairs.name)
        dpo = Stage(f"dpo{end}", names, (*told, "dpo"), partial(_dpo, before, pairs.name))
        stages += [pairs, dpo]
        trained.append(dpo.name)
    chosen = trained[-1] if recipe.export.stage == "dpo" else recipe.export.stage
    asked_for = {"tag", *recipe.evaluate.besides}
    judged = [one for one in trained if one in asked_for or one.rpartition("-")[0] in asked_for]
    stages += [
        Stage(
            "evaluate",
            judged,
            (*answered, "evaluate", "select", "export.stage"),
            partial(evaluate, chosen),
        ),
        Stage(
            "export",
            (chosen, "evaluate"),
            (*answered, "data.router", "generate", "export"),
            export,
        ),
    ]
    return {stage.name: stage for stage in stages}


def _base(work: Work) -> Mapping[str, Any]:
    """Train from scratch, or take the base as it is; with a tokenizer that tells efforts."""
    from transformers import AutoConfig, AutoTokenizer  # noqa: PLC0415 - seconds to load

    told = work.recipe.model
    if told.scratch is not None:
        return _from_scratch(work, told.scratch)
    try:
        config = AutoConfig.from_pretrained(told.base)
        tokenizer = AutoTokenizer.from_pretrained(told.base)
    except (OSError, ValueError) as error:
        raise RunError(f"the base {told.base} cannot be loaded: {error}") from error
    if len(tokenizer) > config.get_text_config().vocab_size:
        raise RunError(
            f"the tokenizer of {told.base} has {len(tokenizer)} tokens and its model embeds "
            f"{config.get_text_config().vocab_size}: they do not belong together"
        )
    if tokenizer.chat_template is None:
        raise RunError(f"the tokenizer of {told.base} has no chat template: take an instruct model")
    if told.add_tokens:
        tokenizer.add_tokens(list(told.add_tokens))
    if told.placement == "generation":
        tokenizer.chat_template = tagged(tokenizer.chat_template, told.tags)
    try:
        Chat.of(told, tokenizer)
    except ChatError as error:
        raise RunError(f"the base {told.base} cannot be told efforts: {error}") from error
    tokenizer.save_pretrained(work.folder / "tokenizer")
    return {"base": told.base}


def _from_scratch(work: Work, scratch: Scratch) -> Mapping[str, Any]:
    if not (work.folder / "model").is_dir():
        given = {"scratch": scratch.model_dump(mode="json"), "seed": work.recipe.random_seed}
        write_whole(work.folder / "scratch.json", json.dumps(given, indent=1) + "\n")
        launched(work.recipe.launch, "models.training.base", work.folder)
    return json.loads((work.folder / "training.json").read_text())


def _chat(work: Work) -> Chat:
    """The chat of the run's tokenizer, the same in every stage.

    Raises:
        RunError: it cannot be read or does not tell the recipe's efforts.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds to load

    try:
        return Chat.of(
            work.recipe.model, AutoTokenizer.from_pretrained(work.inputs["base"] / "tokenizer")
        )
    except (OSError, ValueError, ChatError) as error:
        raise RunError(f"the tokenizer of {work.inputs['base']} cannot be used: {error}") from error


def _base_model(work: Work) -> str:
    scratch = work.inputs["base"] / "model"
    return str(scratch) if scratch.is_dir() else str(work.recipe.model.base)


def _seed(work: Work) -> Mapping[str, Any]:
    return seed(work, _chat(work))


def _tag(work: Work) -> Mapping[str, Any]:
    examples = read_examples(work.inputs["seed"] / "examples.jsonl")
    chat, settings = _chat(work), work.recipe.tag
    return fine_tune(work.recipe, settings, _base_model(work), chat, examples, work.folder)


def _generate(work: Work) -> Mapping[str, Any]:
    recipe, counts = work.recipe, Counter[str]()
    problems = problems_of(recipe, counts)
    generate_from(
        recipe,
        work.inputs["tag"] / "model",
        problems,
        recipe.model.efforts,
        recipe.generate,
        work.folder / "generations.jsonl",
        counts,
    )
    return {"problems": len(problems), **counts}


def _verify(work: Work) -> Mapping[str, Any]:
    counts = Counter[str]()
    made, out = work.inputs["generate"] / "generations.jsonl", work.folder / "outcomes.jsonl"
    judge(work.recipe, problems_of(work.recipe, Counter()), made, out, counts)
    return counts


def _select(rule: Rule, work: Work) -> Mapping[str, Any]:
    recipe, counts = work.recipe, Counter[str]()
    outcomes = read_rows(work.inputs["verify"] / "outcomes.jsonl")
    seeds = read_examples(work.inputs["seed"] / "examples.jsonl")
    chosen = chosen_answers(
        outcomes, seeds, rule, recipe.select, recipe.model.efforts, recipe.random_seed, counts
    )
    marked = mark(chosen, recipe.mistakes, work.folder / "critic.jsonl", counts, seeds)
    return {**counts, "examples": write_examples(work.folder / "examples.jsonl", marked)}


def _sft(selected: str, work: Work) -> Mapping[str, Any]:
    examples = read_examples(work.inputs[selected] / "examples.jsonl")
    chat, settings = _chat(work), work.recipe.sft
    return fine_tune(work.recipe, settings, _base_model(work), chat, examples, work.folder)


def _pairs(before: str, work: Work) -> Mapping[str, Any]:
    """Samples of the model itself, judged, and the pairs among them."""
    recipe, counts = work.recipe, Counter[str]()
    problems = problems_of(recipe, counts)
    made, judged = work.folder / "generations.jsonl", work.folder / "outcomes.jsonl"
    model = work.inputs[before] / "model"
    generate_from(recipe, model, problems, ["auto"], recipe.pairs, made, counts)
    judge(recipe, problems, made, judged, counts)
    pairs = preference_pairs(read_rows(judged), counts)
    write_rows(
        work.folder / "pairs.jsonl",
        ({"chosen": vars(chosen), "rejected": vars(rejected)} for chosen, rejected in pairs),
    )
    return counts


def _dpo(before: str, pairs: str, work: Work) -> Mapping[str, Any]:
    rows = read_rows(work.inputs[pairs] / "pairs.jsonl")
    made = [(Example(**row["chosen"]), Example(**row["rejected"])) for row in rows]
    model = str(work.inputs[before] / "model")
    return prefer(work.recipe, work.recipe.dpo, model, _chat(work), made, work.folder)
