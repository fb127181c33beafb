"""Wrong steps of a solution: found by the demo domain's arithmetic, or by a critic model.

A wrong step stays in the text, so that what follows it makes sense, and is left out of the loss, so
that it is not learned (TOPS, section 3). Spans are [first, end) characters of the reasoning.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from models.outcomes.client import Job, Refused, Request, answered, ask, client
from models.outcomes.generate import API_KEY, check_refused
from models.outcomes.problem_sets import Problem
from models.outcomes.progress import Progress
from models.training.examples import Example, read_examples
from models.training.recipe import Critic, Mistakes

_EQUATION = re.compile(r"(?<![\d*/+-])(\d+)([-+*/])(\d+)(?:([-+])(\d))?=(\d+)")
_SUM = re.compile(r"(\d+)([-+*])(\d+): .* so (\d+)\.")
_SENTENCE = re.compile(r"[^\n.\s][^\n.]*\.?")
_LIST = re.compile(r"\[[\d,\s]*\]")
_ASKED = (
    "Below are a problem and the numbered steps of a solution. Some steps may be wrong: a false "
    "calculation, a misread fact, a conclusion that does not follow. A step that repeats an error "
    "made before it without adding one is not wrong. Think as you need to, and end with a JSON "
    "list of the numbers of the wrong steps, [] where there are none.\n\n"
    "Problem:\n{prompt}\n\nSteps:\n{steps}"
)


def wrong_sentences(reasoning: str) -> list[list[int]]:
    """The sentences of a demo story's reasoning whose arithmetic is false."""
    return [
        [found.start(), found.end()]
        for found in _SENTENCE.finditer(reasoning)
        if not _holds(found[0])
    ]


def _holds(sentence: str) -> bool:
    worked = _SUM.match(sentence)
    if worked and _value(worked[1], worked[2], worked[3]) != int(worked[4]):
        return False
    return all(
        _value(a, sign, b, second, c) == int(total)
        for a, sign, b, second, c, total in _EQUATION.findall(sentence)
    )


def _value(a: str, sign: str, b: str, second: str = "", c: str = "") -> float:
    left, right = int(a), int(b)
    value = {
        "+": left + right,
        "-": left - right,
        "*": left * right,
        "/": left / right if right else float("nan"),
    }[sign]
    return value + (int(f"{second}{c}") if c else 0)


def mark(
    examples: Sequence[Example],
    mistakes: Mistakes,
    file: Path,
    counts: Counter[str],
    known: Sequence[Example] = (),
) -> list[Example]:
    """The examples with their wrong steps marked; those that have one are dropped where told so.

    What a critic said is kept in `file`, line by line, so that a rerun asks only for the rest; of
    the `known` ones it is not asked again.

    Raises:
        GenerateError: the critic's endpoint is down or refuses everybody.
    """
    if mistakes.found_by == "nobody":
        return list(examples)
    if mistakes.critic is not None and mistakes.found_by == "critic":
        marked = _criticised(examples, mistakes.critic, file, counts, known)
    else:
        marked = [replace(one, wrong=wrong_sentences(one.reasoning)) for one in examples]
    counts["with_wrong_steps"] += sum(1 for one in marked if one.wrong)
    counts["wrong_steps"] += sum(len(one.wrong) for one in marked)
    if mistakes.then == "drop":
        return [one for one in marked if not one.wrong]
    if mistakes.then == "train":
        return [replace(one, wrong=[]) for one in marked]
    return marked


def steps_of(reasoning: str) -> list[list[int]]:
    """The spans of the steps of a reasoning: its paragraphs, or its lines where it has none."""
    gap = "\n\n" if "\n\n" in reasoning else "\n"
    spans: list[list[int]] = []
    first = 0
    for part in reasoning.split(gap):
        if part.strip():
            spans.append([first, first + len(part)])
        first += len(part) + len(gap)
    return spans


def _criticised(
    examples: Sequence[Example],
    critic: Critic,
    file: Path,
    counts: Counter[str],
    known: Sequence[Example],
) -> list[Example]:
    wrong = {_key(one): one.wrong for one in known}
    if _mended(file):
        wrong |= {_key(one): one.wrong for one in read_examples(file)}
    missing = {_key(one): one for one in examples if _key(one) not in wrong}
    if missing:
        asyncio.run(_ask_critic(list(missing.values()), critic, file, counts))
        wrong |= {_key(one): one.wrong for one in read_examples(file)} if file.exists() else {}
    return [replace(one, wrong=wrong.get(_key(one), [])) for one in examples]


def _key(example: Example) -> tuple[str, str]:
    return example.problem_id, example.reasoning


def _mended(file: Path) -> bool:
    """Cut off half a last line, left by a kill; whether there is a file at all."""
    if not file.exists():
        return False
    raw = file.read_bytes()
    os.truncate(file, raw.rfind(b"\n") + 1)
    return True


async def _ask_critic(
    examples: Sequence[Example], critic: Critic, file: Path, counts: Counter[str]
) -> None:
    request = Request(
        critic.url.rstrip("/"), critic.model, 0.0, None, True, api_key=os.environ.get(API_KEY)
    )
    progress = Progress(len(examples), "critiques")
    waiting, tried, refused = iter(examples), 0, 0
    async with client(critic.concurrency) as http:
        with file.open("a", encoding="utf-8") as out:

            async def work() -> None:
                nonlocal tried, refused
                for example in waiting:
                    tried += 1
                    spans = steps_of(example.reasoning)
                    steps = "\n".join(
                        f"{number}. {example.reasoning[first:end]}"
                        for number, (first, end) in enumerate(spans, 1)
                    )
                    asked = _ASKED.format(prompt=example.prompt, steps=steps)
                    job = Job(Problem(example.problem_id, asked, ""), "auto", 0)
                    try:
                        text, _ = answered(await ask(http, request, job))
                    except Refused as error:
                        refused += 1
                        check_refused(refused, tried, len(examples), error)
                        continue
                    said = replace(example, wrong=[spans[n - 1] for n in named(text, len(spans))])
                    out.write(json.dumps(asdict(said), ensure_ascii=False) + "\n")
                    out.flush()
                    progress.step()

            await asyncio.gather(*(work() for _ in range(critic.concurrency)))
    progress.end()
    counts["critic_refused"] += refused


def named(text: str, steps: int) -> list[int]:
    """The steps that a critic's last list names; numbers that there are not are left out."""
    found = _LIST.findall(text)
    numbers = map(int, re.findall(r"\d+", found[-1])) if found else ()
    return sorted({number for number in numbers if 1 <= number <= steps})
