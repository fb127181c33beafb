"""Wrong steps of a solution, its sentences: found by their arithmetic, or by a critic model.

A wrong step stays in the text, so that the steps after it make sense, and is left out of the loss,
so that it is not learned (TOPS, section 3). Spans are [start, end) characters of the reasoning.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import httpx

from models.outcomes.client import (
    GenerationTask,
    RefusedError,
    RequestSettings,
    complete,
    http_client,
    visible_answer,
)
from models.outcomes.generate import API_KEY_VARIABLE, check_refusals
from models.outcomes.problem_sets import Problem
from models.outcomes.progress import progress_bar
from models.training.arithmetic import false_equations
from models.training.examples import Example, read_examples
from models.training.recipe import Critic, Mistakes
from models.training.sentences import sentences

Spans = list[list[int]]

_COLUMN_SUM = re.compile(r"(\d+)([-+*])(\d+): .* so (\d+)\.")
"""The demo domain's sum by columns: `12+30: 2+0=2 1+3=4 so 42.`"""

_LIST = re.compile(r"\[[\d,\s]*\]")
_CRITIC_PROMPT = (
    "Below are a problem and the numbered steps of a solution. Some steps may be wrong: a false "
    "calculation, a misread fact, a conclusion that does not follow. A step that repeats an error "
    "made before it without adding one is not wrong. Think as you need to, and end with a JSON "
    "list of the numbers of the wrong steps, [] where there are none.\n\n"
    "Problem:\n{prompt}\n\nSteps:\n{steps}"
)


def wrong_sentences(reasoning: str) -> Spans:
    """The sentences whose arithmetic is false."""
    false = false_equations(reasoning)
    return [
        [start, end]
        for start, end in sentences(reasoning)
        if any(start <= equation < end for equation, _ in false)
        or _is_false_column_sum(reasoning[start:end])
    ]


def _is_false_column_sum(sentence: str) -> bool:
    column_sum = _COLUMN_SUM.match(sentence)
    if column_sum is None:
        return False
    left, symbol, right, total = column_sum.groups()
    return bool(false_equations(f"{left}{symbol}{right}={total}"))


def mark(
    examples: Sequence[Example],
    mistakes: Mistakes,
    file: Path,
    counts: Counter[str],
    already_marked: Sequence[Example] = (),
) -> list[Example]:
    """The examples with the spans of their wrong steps, which `mistakes.then` masks or drops.

    Those that the examples have already are kept.

    Args:
        examples: solutions to check.
        mistakes: how wrong steps are found, and what becomes of them.
        file: keeps a critic's answers, so that a rerun requests only the missing ones.
        counts: gets `with_wrong_steps`, `wrong_steps`, and what the critic did not judge, which is
            left out: `critic_refused` and `critic_unreadable`.
        already_marked: solutions whose spans are reused without another request.

    Raises:
        GenerateError: the critic's endpoint is down or refuses too many requests.
    """
    if mistakes.critic is not None and mistakes.found_by == "critic":
        marked = _criticised(examples, mistakes.critic, file, counts, already_marked)
    elif mistakes.found_by == "arithmetic":
        marked = [_with_wrong(example, wrong_sentences(example.reasoning)) for example in examples]
    else:
        marked = list(examples)
    counts["with_wrong_steps"] += sum(1 for example in marked if example.wrong)
    counts["wrong_steps"] += sum(len(example.wrong) for example in marked)
    if mistakes.then == "drop":
        return [example for example in marked if not example.wrong]
    if mistakes.then == "train":
        return [replace(example, wrong=[]) for example in marked]
    return marked


def _with_wrong(example: Example, wrong_spans: Spans) -> Example:
    """The example with the spans that it had, as a seed from a file has, and those found."""
    return replace(
        example, wrong=[*example.wrong, *(s for s in wrong_spans if s not in example.wrong)]
    )


def _criticised(
    examples: Sequence[Example],
    critic: Critic,
    file: Path,
    counts: Counter[str],
    already_marked: Sequence[Example],
) -> list[Example]:
    spans = {_key(example): example.wrong for example in (*already_marked, *_read_critiques(file))}
    missing = {_key(example): example for example in examples if _key(example) not in spans}
    if missing:
        asyncio.run(_request_critiques(list(missing.values()), critic, file, counts))
        spans |= {_key(example): example.wrong for example in _read_critiques(file)}
    return [
        _with_wrong(example, spans[_key(example)]) for example in examples if _key(example) in spans
    ]


def _key(example: Example) -> tuple[str, str]:
    return example.problem_id, example.reasoning


def _read_critiques(file: Path) -> list[Example]:
    """The file's examples; an incomplete last line, left by a kill, is cut off."""
    if not file.exists():
        return []
    os.truncate(file, file.read_bytes().rfind(b"\n") + 1)
    return read_examples(file)


async def _request_critiques(
    examples: Sequence[Example], critic: Critic, file: Path, counts: Counter[str]
) -> None:
    """Append each example to `file` with the spans that the critic calls wrong."""
    api_key = os.environ.get(API_KEY_VARIABLE)
    settings = RequestSettings(
        critic.url.rstrip("/"), critic.model, 0.0, None, keep_responses=True, api_key=api_key
    )
    queue, started, refused = iter(examples), 0, 0
    async with http_client(critic.concurrency) as http:
        with (
            file.open("a", encoding="utf-8") as out,
            progress_bar(len(examples), "critiques") as bar,
        ):

            async def critique_examples() -> None:
                nonlocal started, refused
                for example in queue:
                    started += 1
                    try:
                        wrong = await _critique(http, settings, example)
                    except RefusedError as error:
                        counts["critic_unreadable"] += isinstance(error, _UnreadableError)
                        refused += 1
                        check_refusals(refused, started, len(examples), error)
                        continue
                    row = asdict(replace(example, wrong=wrong))
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    out.flush()
                    bar.update()

            await asyncio.gather(*(critique_examples() for _ in range(critic.concurrency)))
    counts["critic_refused"] += refused - counts["critic_unreadable"]


class _UnreadableError(RefusedError):
    """The critic's text has no verdict; its answer is not kept, so that a rerun asks again."""


async def _critique(http: httpx.AsyncClient, settings: RequestSettings, example: Example) -> Spans:
    spans = sentences(example.reasoning)
    steps = "\n".join(
        f"{number}. {example.reasoning[start:end]}" for number, (start, end) in enumerate(spans, 1)
    )
    prompt = _CRITIC_PROMPT.format(prompt=example.prompt, steps=steps)
    task = GenerationTask(Problem(example.problem_id, prompt, ""), "auto", 0)
    text, truncated = visible_answer(await complete(http, settings, task))
    numbers = None if truncated else wrong_step_numbers(text, len(spans))
    if numbers is None:
        how = "was cut off" if truncated else f"has no list of numbers from 1 to {len(spans)}"
        raise _UnreadableError(f"the critic's verdict on {example.problem_id} {how}")
    return [spans[number - 1] for number in numbers]


def wrong_step_numbers(text: str, steps: int) -> list[int] | None:
    """The numbers in the text's last list; None without one, or where it has other numbers."""
    lists = _LIST.findall(text)
    numbers = {*map(int, re.findall(r"\d+", lists[-1]))} if lists else {0}
    return sorted(numbers) if all(1 <= number <= steps for number in numbers) else None
