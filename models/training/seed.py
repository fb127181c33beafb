"""Stage `seed`: problems solved at every effort, each effort longer than the one before.

The solutions come from a teacher behind an endpoint, from a file, or from the demo domain. What a
teacher calls low is not always its shortest, so they are relabelled by length (TOPS, section 4).
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
from models.outcomes.client import Request
from models.outcomes.generate import API_KEY
from models.outcomes.problem_sets import Problem
from models.training.chat import Chat
from models.training.examples import Example, read_examples, read_rows, write_examples
from models.training.generation import generate, judge, judge_of
from models.training.mistakes import mark
from models.training.problems import load, without_contamination
from models.training.recipe import Recipe, Teacher
from models.training.run import RunError, Work

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
"""What a teacher is told at each effort, unless the recipe says otherwise."""


def seed(work: Work, chat: Chat) -> dict[str, Any]:
    """Write `examples.jsonl`: every effort of every problem that is kept, together.

    But for single solutions that `[mistakes]` drops.

    Raises:
        RunError: no problem is kept.
        ProblemError, GenerateError, JudgeError: see there.
    """
    recipe, counts = work.recipe, Counter[str]()
    told = recipe.seed
    if told.source == "stories":
        candidates = _from_stories(recipe, chat, counts)
    elif told.source == "file":
        assert told.path is not None
        candidates = read_examples(told.path)
    else:
        assert told.teacher is not None
        candidates = _from_teacher(work, told.teacher, counts)
    kept = relabelled(candidates, recipe.model.efforts, told.min_gap, counts)
    if not kept:
        raise RunError(
            f"no problem of the seed is right at every effort with gaps of {told.min_gap} tokens "
            f"or more: {dict(counts)}"
        )
    marked = mark(kept, recipe.mistakes, work.folder / "critic.jsonl", counts)
    write_examples(work.folder / "examples.jsonl", marked)
    return {**counts, "examples": len(marked)}


def relabelled(
    examples: Iterable[Example], efforts: Sequence[str], min_gap: int, counts: Counter[str]
) -> list[Example]:
    """Problems with one example an effort, labelled by length, the gaps at least `min_gap` tokens.

    Examples of the effort `none` keep their label.
    """
    thinking = [effort for effort in efforts if effort != "none"]
    by_problem: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_problem[example.problem_id].append(example)
    kept: list[Example] = []
    for group in by_problem.values():
        straight = [one for one in group if one.effort == "none" and "none" in efforts]
        ladder = sorted((one for one in group if one.effort != "none"), key=lambda one: one.tokens)
        if len(ladder) < len(thinking) or len(group) < len(efforts):
            counts["not_right_at_every_effort"] += 1
        elif any(b.tokens - a.tokens < max(min_gap, 1) for a, b in pairwise(ladder)):
            counts["too_alike"] += 1
        else:
            relabelled = [replace(a, effort=b) for a, b in zip(ladder, thinking, strict=False)]
            counts["relabelled"] += sum(
                a.effort != b.effort for a, b in zip(ladder, relabelled, strict=False)
            )
            kept += straight + relabelled
    counts["problems"] = len(kept) // len(efforts)
    return kept


def _from_stories(recipe: Recipe, chat: Chat, counts: Counter[str]) -> list[Example]:
    rng = random.Random(f"seed:{recipe.random_seed}")
    found: list[Example] = []
    for source in recipe.data.seed:
        if source.stories is None:
            raise RunError("a seed of stories takes its problems from stories in [[data.seed]]")
        told = source.stories
        for story in islice(unique_stories(told.seed, told.split, *told.steps), told.n):
            counts["read"] += 1
            solved = [_solved(story, one, recipe, chat, rng) for one in recipe.model.efforts]
            right = answer_text(story)
            found += [one for one in solved if one.response == right or not recipe.seed.only_right]
    return found


def _solved(story: Story, effort: str, recipe: Recipe, chat: Chat, rng: random.Random) -> Example:
    reasoning = trace(story, effort, recipe.seed.slips, rng)
    response = answer_text(story, effort)
    encoded = chat.encode(story.prompt, effort, reasoning, response, [])
    tokens = len(encoded.ids) - encoded.prompt
    return Example(story.problem_id, story.prompt, effort, reasoning, response, tokens)


def _from_teacher(work: Work, teacher: Teacher, counts: Counter[str]) -> list[Example]:
    recipe = work.recipe
    with judge_of(recipe) as told:
        problems = load(recipe.data.seed, recipe.data, counts, told.unjudgeable)
        held = load(recipe.data.evaluate, recipe.data, Counter(), told.unjudgeable)
    problems = without_contamination(problems, held, recipe.data.ngram, counts)
    request = Request(
        url=teacher.url.rstrip("/"),
        model=teacher.model,
        temperature=teacher.temperature,
        weights=None,
        keep_responses=True,
        max_tokens=teacher.max_tokens,
        api_key=os.environ.get(API_KEY),
        system={**INSTRUCTIONS, **teacher.instructions},
    )
    made = work.folder / "generations.jsonl"
    efforts = recipe.model.efforts
    generate(problems, efforts, 1, [request], made, teacher.concurrency, counts)
    judged = work.folder / "outcomes.jsonl"
    judge(recipe, problems, made, judged, counts)
    rows = list(read_rows(judged))
    told = [row for row in rows if row["reasoning"] or row["effort"] == "none"]
    counts["without_reasoning"] = len(rows) - len(told)
    if rows and not told:
        raise RunError(
            f"{teacher.model} sends no reasoning: take a model that thinks in a block of its own, "
            "and serve it with its reasoning parser"
        )
    return [
        Example.of(row, row["effort"])
        for row in told
        if row["correct"] or not recipe.seed.only_right
    ]


def problems_of(recipe: Recipe, counts: Counter[str]) -> list[Problem]:
    """The training problems, without repeats, the seed's, and what evaluation asks.

    Raises:
        ProblemError: a source cannot be used, or nothing is left.
    """
    with judge_of(recipe) as told:
        train = load(recipe.data.train, recipe.data, counts, told.unjudgeable)
        seeds = load(recipe.data.seed, recipe.data, Counter(), told.unjudgeable)
        held = load(recipe.data.evaluate, recipe.data, Counter(), told.unjudgeable)
    train = without_contamination(train, held, recipe.data.ngram, counts)
    counts_of_seeds = Counter[str]()
    train = without_contamination(train, seeds, 0, counts_of_seeds)
    counts["in_the_seed"] = counts_of_seeds["contaminated"]
    return train
