"""A seed from a file of solutions: read, checked against gold answers, and counted anew.

Each line is an object with `prompt`, `effort`, `reasoning` (without tags) and `response`; `answer`
is the gold one; without it, the problem of `[[data.seed]]` with the same `problem_id` or prompt has
it, or the way to check answers.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from models.outcomes.check import Check
from models.outcomes.problem_sets import Problem, ProblemError
from models.outcomes.verify import Judge
from models.training.chat import Chat
from models.training.examples import Example
from models.training.generation import judge_of
from models.training.problems import (
    load,
    normalised,
    read_lines,
    refuse_broken,
    without_contamination,
)
from models.training.recipe import Recipe
from models.training.run import RunError
from models.training.template_check import CLOSE, OPEN

_JUDGED_TOGETHER = 256
_TEXTS = ("prompt", "effort", "reasoning", "response")
_KNOWN = frozenset((*_TEXTS, "problem_id", "answer", "tokens", "wrong"))


@dataclass(frozen=True)
class _Solution:
    example: Example
    answer: str | None
    check: Check | None = None


def read_seed_file(recipe: Recipe, file: Path, chat: Chat, counts: Counter[str]) -> list[Example]:
    """The solutions of a file that may be trained on, with their tokens counted by `chat`.

    Args:
        recipe: has the efforts, the gold answers of `data.seed`, the problems of evaluation, the
            judge, and how many lines may be broken.
        file: JSON Lines, gzipped if it is named so.
        chat: counts the tokens of completions.
        counts: gets `read`, `broken`, `repeated`, `without_gold`, `unjudgeable`, `contaminated`,
            `wrong` and `tokens_differ`.

    Raises:
        RunError: no line has a gold answer, or none is left.
        ProblemError: the file cannot be read, more lines are broken than `data.most_broken`, or two
            prompts have one `problem_id`.
    """
    solutions = _of_problems(file, _read(recipe, file, counts))
    with judge_of(recipe) as judge:
        solutions = _with_gold(recipe, solutions, judge, counts)
        if not solutions:
            raise RunError(
                f"{file} has no solution with a gold answer: give each line an answer, or name its "
                f"problems in [[data.seed]], with the same problem_id or prompt ({_listed(counts)})"
            )
        problems = load(recipe.data.evaluate, recipe.data, Counter(), judge.unjudgeable)
        solutions = _clean(solutions, problems, recipe.data.ngram, counts)
        right = asyncio.run(_judged(solutions, judge))
    counts["wrong"] += len(right) - sum(right)
    kept = [
        _counted(solution.example, chat, counts)
        for solution, is_right in zip(solutions, right, strict=True)
        if is_right or not recipe.seed.only_right
    ]
    if not kept:
        raise RunError(f"{file} has no solution that may be trained on: {_listed(counts)}")
    return kept


def prompts_of(file: Path) -> list[str]:
    """The prompts of a seed's file, to leave them out of other problems.

    Raises:
        ProblemError: the file cannot be read.
    """
    rows = (row for row in read_lines(file) if not isinstance(row, str))
    return list(dict.fromkeys(str(row["prompt"]) for row in rows if "prompt" in row))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def _read(recipe: Recipe, file: Path, counts: Counter[str]) -> list[_Solution]:
    broken: list[str] = []
    solutions: dict[tuple[str, str, str], _Solution] = {}
    for number, row in enumerate(read_lines(file), 1):
        solution = row if isinstance(row, str) else _solution(row, recipe.model.efforts)
        if isinstance(solution, str):
            broken.append(f"line {number}: {solution}")
            continue
        counts["read"] += 1
        example = solution.example
        key = (normalised(example.prompt), example.reasoning, example.response)
        counts["repeated"] += key in solutions
        solutions.setdefault(key, solution)
    counts["broken"] += len(broken)
    refuse_broken(str(file), broken, counts["read"], recipe.data.most_broken)
    return list(solutions.values())


def _of_problems(file: Path, solutions: Sequence[_Solution]) -> list[_Solution]:
    """The solutions with one id for each prompt, the first that it has."""
    ids: dict[str, str] = {}
    prompts: dict[str, str] = {}
    for example in (solution.example for solution in solutions):
        prompt = normalised(example.prompt)
        ids.setdefault(prompt, example.problem_id)
        if prompts.setdefault(example.problem_id, prompt) != prompt:
            raise ProblemError(
                f"{file}: two different prompts have the problem_id {example.problem_id}: "
                "it is that of a problem, of which each solution has the same prompt"
            )
    return [
        replace(
            solution,
            example=replace(solution.example, problem_id=ids[normalised(solution.example.prompt)]),
        )
        for solution in solutions
    ]


def _solution(row: Mapping[str, Any], efforts: Sequence[str]) -> _Solution | str:
    """A row's solution, or why it has none."""
    if fault := _fault(row, efforts):
        return fault
    answer = row.get("answer")
    reasoning, start = _inner(row["reasoning"])
    example = Example(
        problem_id=str(row.get("problem_id") or normalised(row["prompt"])),
        prompt=row["prompt"],
        effort=row["effort"],
        reasoning=reasoning,
        response=row["response"].strip(),
        tokens=row["tokens"] if isinstance(row.get("tokens"), int) else 0,
        wrong=[
            [max(0, character - start) for character in span] for span in row.get("wrong") or ()
        ],
    )
    return _Solution(example, None if answer is None else str(answer))


def _fault(row: Mapping[str, Any], efforts: Sequence[str]) -> str | None:
    for name in _TEXTS:
        if not isinstance(row.get(name), str):
            return f"no text {name}; it has {', '.join(row)}"
    reasoning, response = _inner(row["reasoning"])[0], row["response"].strip()
    fault: str | None = None
    if unknown := set(row) - _KNOWN:
        fault = f"unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(_KNOWN))}"
    elif row["effort"] not in efforts:
        fault = f"effort {row['effort']}, which model.efforts lacks"
    elif any(tag in text for tag in (OPEN, CLOSE) for text in (reasoning, response)):
        fault = f"{OPEN} or {CLOSE} within a text: give the reasoning without its tags"
    elif not response or (not reasoning and row["effort"] != "none"):
        fault = "an empty response or reasoning"
    elif not isinstance(row.get("answer"), str | int | float | None) or row.get("answer") is True:
        fault = "an answer that is no text or number"
    elif not _are_spans(row.get("wrong") or [], len(row["reasoning"])):
        fault = "a wrong that is no list of [start, end) characters of its reasoning"
    return fault


def _are_spans(spans: Any, length: int) -> bool:
    return isinstance(spans, list) and all(
        _is_span(span, length) for span in cast("list[Any]", spans)
    )


def _is_span(span: Any, length: int) -> bool:
    if not isinstance(span, list) or not all(type(end) is int for end in cast("list[Any]", span)):
        return False
    ends = cast("list[int]", span)
    return len(ends) == 2 and 0 <= ends[0] <= ends[1] <= length


def _inner(reasoning: str) -> tuple[str, int]:
    """The reasoning without the tags of the block around it, and where it starts."""
    text = reasoning.strip()
    start = reasoning.index(text)
    if text.startswith(OPEN):
        inner = text.removeprefix(OPEN).removesuffix(CLOSE)
        text = inner.strip()
        start += len(OPEN) + inner.index(text)
    return text, start


def _with_gold(
    recipe: Recipe, solutions: Iterable[_Solution], judge: Judge, counts: Counter[str]
) -> list[_Solution]:
    problems = (
        load(recipe.data.seed, recipe.data, Counter(), judge.unjudgeable)
        if recipe.data.seed
        else []
    )
    by_key = {problem.problem_id: problem for problem in problems}
    by_key |= {normalised(problem.prompt): problem for problem in problems}
    judgeable: list[_Solution] = []
    for solution in solutions:
        example = solution.example
        answer, check = solution.answer, solution.check
        problem = by_key.get(example.problem_id, by_key.get(normalised(example.prompt)))
        if answer is None and problem is not None:
            answer, check = problem.answer, problem.check
        if answer is None:
            counts["without_gold"] += 1
        elif judge.unjudgeable(answer, check):
            counts["unjudgeable"] += 1
        else:
            judgeable.append(replace(solution, answer=answer, check=check))
    return judgeable


def _clean(
    solutions: Sequence[_Solution],
    evaluation: Sequence[Problem],
    ngram: int,
    counts: Counter[str],
) -> list[_Solution]:
    """Without solutions of problems of evaluation."""
    problems = {
        s.example.prompt: Problem(s.example.prompt, s.example.prompt, "") for s in solutions
    }
    removed = Counter[str]()
    clean = {
        problem.prompt
        for problem in without_contamination(problems.values(), evaluation, ngram, removed)
    }
    kept = [solution for solution in solutions if solution.example.prompt in clean]
    counts["contaminated"] += len(solutions) - len(kept)
    return kept


async def _judged(solutions: Sequence[_Solution], judge: Judge) -> list[bool]:
    right: list[bool] = []
    for start in range(0, len(solutions), _JUDGED_TOGETHER):
        batch = solutions[start : start + _JUDGED_TOGETHER]
        right += await asyncio.gather(
            *(
                judge.is_correct(
                    s.example.response, s.answer or "", False, s.check, s.example.prompt
                )
                for s in batch
            )
        )
    return right


def _counted(example: Example, chat: Chat, counts: Counter[str]) -> Example:
    encoded = example.encode(chat)
    tokens = len(encoded.ids) - encoded.prompt
    counts["tokens_differ"] += example.tokens not in (0, tokens)
    return replace(example, tokens=tokens)
