"""The demo answers visitors: other names, things and words, system messages, greetings."""

import asyncio

from models.studies.visitors import Visit, ask, visits

EACH = 12
SEED = 5
"""Of stories of the test split, which no training has seen."""


def test_the_demo_answers_its_visitors(gateway: str) -> None:
    asked = {name: part for name, part in visits(EACH, SEED) if name != "numbers of four digits"}
    everything: list[Visit] = [visit for part in asked.values() for visit in part]
    answers = asyncio.run(ask(f"{gateway}/v1", everything, temperature=0))
    right = iter(answers.right)
    by_name = {name: sum(next(right) for _ in part) for name, part in asked.items()}
    assert by_name["greetings and other questions"] >= EACH - 1, by_name
    assert sum(by_name.values()) >= 0.8 * len(everything), by_name
