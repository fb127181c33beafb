"""How the demo answers its visitors: accuracy on a running gateway by what a visitor changes.

    python -m models.studies.visitors --url http://127.0.0.1:8000/v1 --problems 200

Each row asks the same held-out stories at `auto`, told in another way, those with large numbers
and the greetings apart. The system messages and the polite words of the last rows are none of
those in training. Intervals are Wilson's, 95 %.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
import httpx

from models.domain.problems import unique_stories
from models.domain.retelling import large_story, rename_people, rename_things, retell, reword
from models.domain.stories import Story
from models.domain.visitors import REPLY, no_story, system_message, wrapped
from router.score_interval import score_interval

Message = dict[str, str]

_CONCURRENCY = 8
_SECONDS = 120
_NEW_SYSTEMS = (
    "You are a knowledgeable assistant.",
    "Answer as shortly as you can.",
    "You help pupils of a primary school with their homework.",
    "Please keep a friendly tone.",
    "You are Ada, the assistant of a toy shop.",
    "Reply with the result.",
)
_NEW_WRAPPERS = (
    "Would you mind solving this for me? {}",
    "I am not sure about this one: {}",
    "{} I would be grateful for your help.",
    "{} One number is enough.",
    "From a test: {}",
    "Dear assistant, {}",
)


@dataclass(frozen=True)
class Visit:
    """Messages, the answer that is right for them, and the shared story that they tell, if any."""

    messages: list[Message]
    answer: str
    problem_id: str = ""


def visits(count: int, seed: int) -> Iterator[tuple[str, list[Visit]]]:
    """The name of each row and its visits."""
    rng = random.Random(seed)
    stories = list(islice(unique_stories(seed, "test", 1, 10), count))

    def visits_of(tell: Callable[[Story], list[Message]]) -> list[Visit]:
        return [
            Visit(tell(story), f"The answer is {story.answer}.", story.problem_id)
            for story in stories
        ]

    def after(systems: Callable[[], str]) -> list[Visit]:
        return visits_of(lambda story: [_system(systems()), *_user(story.prompt)])

    yield "the stories as they are", visits_of(lambda story: _user(story.prompt))
    yield "other names", visits_of(lambda story: _user(rename_people(rng, story.prompt)))
    yield "other things", visits_of(lambda story: _user(rename_things(rng, story.prompt)))
    yield "one to three sentences reworded", visits_of(lambda story: _user(reword(rng, story)))
    yield "other words", visits_of(lambda story: _user(retell(rng, story)))
    yield "after a system message", after(lambda: system_message(rng))
    yield "with polite words", visits_of(lambda story: _user(wrapped(rng, story.prompt)))
    large = [large_story(rng, rng.randint(1, 4), "test") for _ in stories]
    yield (
        "numbers of four digits",
        [Visit(_user(story.prompt), f"The answer is {story.answer}.") for story in large],
    )
    yield (
        "greetings and other questions",
        [Visit(_user(no_story(rng)), REPLY) for _ in range(count)],
    )
    yield "after a new system message", after(lambda: rng.choice(_NEW_SYSTEMS))
    yield (
        "with new polite words",
        visits_of(lambda story: _user(rng.choice(_NEW_WRAPPERS).format(story.prompt))),
    )


def _user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


@dataclass(frozen=True)
class Answers:
    """Which visits were answered rightly (N,), and at which efforts."""

    right: list[bool]
    efforts: list[str]
    thinking_tokens: list[int]


async def ask(url: str, questions: Sequence[Visit], **sampling: float) -> Answers:
    """Ask all visits at `auto`, with sampling parameters of the request.

    Raises:
        httpx.HTTPError: the gateway does not answer.
    """
    gate = asyncio.Semaphore(_CONCURRENCY)
    async with httpx.AsyncClient(timeout=_SECONDS) as http:

        async def answer_to(visit: Visit) -> dict[str, Any]:
            async with gate:
                body = {"messages": visit.messages, **sampling}
                response = await http.post(f"{url}/chat/completions", json=body)
                return response.raise_for_status().json()

        answers = await asyncio.gather(*map(answer_to, questions))
    texts = [answer["choices"][0]["message"]["content"] for answer in answers]
    return Answers(
        [text == visit.answer for text, visit in zip(texts, questions, strict=True)],
        [answer["tops"]["effort"] for answer in answers],
        [answer["tops"]["thinking_tokens"] for answer in answers],
    )


@click.command()
@click.option("--url", default="http://127.0.0.1:8000/v1", show_default=True, metavar="URL")
@click.option("--problems", default=200, show_default=True, metavar="N")
@click.option("--seed", default=77, show_default=True, metavar="N")
def main(url: str, problems: int, seed: int) -> None:
    """Print a row of Markdown for each way of asking."""
    print("| asked | right | where the plain form is | thinking tokens | efforts |")
    print("| --- | --- | --- | --- | --- |")
    plain: set[str] | None = None
    for name, questions in visits(problems, seed):
        answers = asyncio.run(ask(url, questions))
        if plain is None:
            plain = {
                visit.problem_id
                for visit, right in zip(questions, answers.right, strict=True)
                if right
            }
        paired = [
            right
            for visit, right in zip(questions, answers.right, strict=True)
            if visit.problem_id in plain
        ]
        counts = {effort: answers.efforts.count(effort) for effort in sorted({*answers.efforts})}
        shares = ", ".join(f"{effort} {count}" for effort, count in counts.items())
        tokens = sum(answers.thinking_tokens) / len(answers.thinking_tokens)
        cells = (name, _share(answers.right), _share(paired), f"{tokens:.1f}", shares)
        print(f"| {' | '.join(cells)} |", flush=True)


def _share(right: Sequence[bool]) -> str:
    if not right:
        return "-"
    share = sum(right) / len(right)
    low, high = score_interval(share, len(right))
    return f"{share:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
