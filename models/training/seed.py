"""Stage `seed`: problems solved at every effort, with longer reasoning at each higher effort.

The solutions come from a teacher behind an endpoint, from a file, or from the demo domain. A
teacher's answer at `low` is not always its shortest, so solutions are relabelled by length (TOPS,
section 4).
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

from models.domain.problems import unique_stories
from models.domain.reasoning_traces import answer_text, trace
from models.domain.stories import Story
from models.outcomes.client import RequestSettings
from models.outcomes.generate import API_KEY_VARIABLE
from models.outcomes.problem_sets import Problem, ProblemError
from models.training.chat import Chat
from models.training.examples import Example, is_whole, read_rows, write_examples
from models.training.generation import generate_missing, judge, judge_of
from models.training.mistakes import mark
from models.training.problems import load, without_contamination
from models.training.recipe import Recipe
from models.training.recipe_engine import Teacher
from models.training.run import RunError, StageContext
from models.training.seed_file import prompts_of, read_seed_file
from models.training.serving import teaching

INSTRUCTIONS: Mapping[str, str] = {
    "none": "Answer at once, without any reasoning.",
    "minimal": "Think only if you must, in a line or two, then answer.",
    "low": "Think briefly: only the steps without which the answer cannot be found, then answer.",
    "medium": "Think step by step, one clear step after another, then answer.",
    "high": (
        "Think thoroughly: work out every step in full, check each one in another way, consider "
        "where you may be wrong, and only then answer."
    ),
    "xhigh": (
        "Think as thoroughly as you can: try more than one approach, work every step out in full, "
        "compare what you get, search for errors, and only then answer."
    ),
    "max": (
        "Spare no thought: try every approach you can think of, work each out in full, check every "
        "step twice, reconcile what differs, and only then answer."
    ),
}
"""A teacher's default system prompt at each effort; `[seed.teacher]` can override them."""


def seed(context: StageContext, chat: Chat) -> dict[str, Any]:
    """Write `examples.jsonl`: for each problem that is kept, a solution at every effort.

    `[mistakes]` may drop single solutions of a problem.

    Raises:
        RunError: no problem is kept.
        ProblemError: the problems cannot be read.
        GenerateError: the teacher or critic is down or refuses too many requests.
        JudgeError: a user's judge failed.
    """
    recipe, counts = context.recipe, Counter[str]()
    if recipe.seed.source == "stories":
        candidates = _from_stories(recipe, chat, counts)
    elif recipe.seed.source == "file":
        assert recipe.seed.path is not None
        candidates = read_seed_file(recipe, recipe.seed.path, chat, counts)
    else:
        assert recipe.seed.teacher is not None
        candidates = _from_teacher(context, recipe.seed.teacher, counts)
    min_gap = recipe.seed.min_gap
    examples = relabelled(candidates, recipe.model.efforts, min_gap, counts)
    if not examples:
        raise RunError(
            f"no problem of the seed is solved at every effort with gaps of {min_gap} tokens "
            f"or more: {dict(counts)}"
        )
    marked = mark(examples, recipe.mistakes, context.folder / "critic.jsonl", counts)
    write_examples(context.folder / "examples.jsonl", marked)
    return {**counts, "examples": len(marked)}


def relabelled(
    examples: Iterable[Example], efforts: Sequence[str], min_gap: int, counts: Counter[str]
) -> list[Example]:
    """One example per effort for each problem, labelled by length, at least `min_gap` tokens apart.

    Of more solutions than efforts, some are left out between the shortest and the longest. Examples
    of the effort `none` keep their label.
    """
    ladder = [effort for effort in efforts if effort != "none"]
    by_problem: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_problem[example.problem_id].append(example)
    selected: list[Example] = []
    for group in by_problem.values():
        direct = [example for example in group if example.effort == "none"][: "none" in efforts]
        thinking = [example for example in group if example.effort != "none"]
        thinking.sort(key=lambda example: example.tokens)
        thinking = _spread(thinking, len(ladder))
        gaps = [longer.tokens - shorter.tokens for shorter, longer in pairwise(thinking)]
        if len(direct) + len(thinking) < len(efforts):
            counts["not_right_at_every_effort"] += 1
        elif any(gap < max(min_gap, 1) for gap in gaps):
            counts["too_alike"] += 1
        else:
            for example, effort in zip(thinking, ladder, strict=True):
                counts["relabelled"] += example.effort != effort
                direct.append(replace(example, effort=effort))
            selected += direct
    counts["problems"] = len(selected) // len(efforts)
    return selected


def _spread(examples: Sequence[Example], count: int) -> Sequence[Example]:
    """At most `count` of them, among them the first and the last."""
    if len(examples) <= count:
        return examples
    longest = len(examples) - 1
    return [examples[round(index * longest / max(1, count - 1))] for index in range(count)]


def _from_stories(recipe: Recipe, chat: Chat, counts: Counter[str]) -> list[Example]:
    rng = random.Random(f"seed:{recipe.random_seed}")
    examples: list[Example] = []
    for source in recipe.data.seed:
        if source.stories is None:
            raise RunError("a seed of stories takes its problems from stories in [[data.seed]]")
        options = source.stories
        stream = unique_stories(options.seed, options.split, *options.steps)
        for story in islice(stream, options.n):
            counts["read"] += 1
            solutions = [
                _solution(story, effort, recipe, chat, rng) for effort in recipe.model.efforts
            ]
            correct = answer_text(story)
            examples += [
                solution
                for solution in solutions
                if solution.response == correct or not recipe.seed.only_right
            ]
    return examples


def _solution(story: Story, effort: str, recipe: Recipe, chat: Chat, rng: random.Random) -> Example:
    reasoning = trace(story, effort, recipe.seed.slips, rng)
    response = answer_text(story, effort)
    encoded = chat.encode(story.prompt, effort, reasoning, response, [])
    tokens = len(encoded.ids) - encoded.prompt
    return Example(story.problem_id, story.prompt, effort, reasoning, response, tokens)


def _from_teacher(context: StageContext, teacher: Teacher, counts: Counter[str]) -> list[Example]:
    recipe = context.recipe
    with judge_of(recipe) as answer_judge:
        problems = load(recipe.data.seed, recipe.data, counts, answer_judge.unjudgeable)
        evaluation = load(recipe.data.evaluate, recipe.data, Counter(), answer_judge.unjudgeable)
    problems = without_contamination(problems, evaluation, recipe.data.ngram, counts)
    generations, outcomes = context.folder / "generations.jsonl", context.folder / "outcomes.jsonl"
    efforts, concurrency = recipe.model.efforts, teacher.concurrency
    with teaching(recipe.engine, teacher, context.folder / "serving") as urls:
        endpoints = [_request_settings(recipe, teacher, url) for url in urls]
        generate_missing(problems, efforts, 1, endpoints, generations, concurrency, counts)
    judge(recipe, problems, generations, outcomes, counts)
    rows = list(read_rows(outcomes))
    answered = [row for row in rows if is_whole(row)]
    counts["malformed"] = len(rows) - len(answered)
    usable = [row for row in answered if row["reasoning"] or row["effort"] == "none"]
    counts["without_reasoning"] = len(answered) - len(usable)
    if answered and not usable:
        raise RunError(
            f"{teacher.model} sends no reasoning: use a model that thinks in a block of its own, "
            "and serve it with its reasoning parser"
        )
    return [
        Example.of(row, row["effort"])
        for row in usable
        if row["correct"] or not recipe.seed.only_right
    ]


def _request_settings(recipe: Recipe, teacher: Teacher, url: str) -> RequestSettings:
    return RequestSettings(
        url=url,
        model=teacher.model,
        temperature=teacher.temperature,
        weights=None,
        keep_responses=True,
        max_tokens=teacher.max_tokens,
        api_key=os.environ.get(API_KEY_VARIABLE) if teacher.url else None,
        system={**INSTRUCTIONS, **teacher.instructions},
        sampling=teacher.fields,
        seed=recipe.random_seed if teacher.seeded else None,
    )


def problems_of(recipe: Recipe, counts: Counter[str]) -> list[Problem]:
    """The training problems, without repeats, those of the seed, and those of evaluation.

    Raises:
        ProblemError: a source cannot be used, or no problem is left.
    """
    with judge_of(recipe) as answer_judge:
        train = load(recipe.data.train, recipe.data, counts, answer_judge.unjudgeable)
        seeds = load(recipe.data.seed, recipe.data, Counter(), answer_judge.unjudgeable)
        evaluation = load(recipe.data.evaluate, recipe.data, Counter(), answer_judge.unjudgeable)
    train = without_contamination(train, evaluation, recipe.data.ngram, counts)
    seed_counts = Counter[str]()
    if recipe.seed.source == "file" and recipe.seed.path is not None:
        seeds += [Problem(prompt, prompt, "") for prompt in prompts_of(recipe.seed.path)]
    train = without_contamination(train, seeds, 0, seed_counts)
    counts["in_the_seed"] = seed_counts["contaminated"]
    if not train:
        raise ProblemError(
            "no problem of data.train is left: all are in data.evaluate, share data.ngram words "
            f"with it, or are in the seed ({dict(counts)})"
        )
    return train
