"""Multiple choice: by letter or by the text of a choice, and what is neither."""

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from itertools import islice

import pytest
from paths import DATA

from models.outcomes.check import Choices, read_check
from models.outcomes.verify import Judge
from router.answers.choice_text import lettered, listed_choices
from router.answers.verdict import is_correct

PRICES = lettered(["A)$61", "B)$65", "C)$67.40", "D)$70", "E)None of these"])
CITIES = {"A": "Rome", "B": "Paris", "C": "Berlin", "D": "Bern"}


@pytest.mark.parametrize(
    ("response", "choices"),
    [
        ("B", PRICES),
        ("Answer: (B)", PRICES),
        ("The correct option is b).", PRICES),
        ("$65", PRICES),
        ("The answer is 65 dollars.", PRICES),
        ("So the price is $65.", PRICES),
        ("**Paris**", CITIES),
        ("The answer is Paris.", CITIES),
        (r"\boxed{\text{Paris}}", CITIES),
        ("Rome is old. Therefore it is Paris.", CITIES),
    ],
)
def test_a_letter_or_a_text_is_right(response: str, choices: Mapping[str, str]) -> None:
    assert is_correct(response, "B", choices=choices)


@pytest.mark.parametrize(
    ("response", "choices"),
    [
        ("$61", PRICES),
        ("The answer is 70.", PRICES),
        ("The answer is 66.", PRICES),
        ("It is $65 or $70.", PRICES),
        ("The answer is not $65.", PRICES),
        ("The answer is E) None of these.", PRICES),
        ("Berlin", CITIES),
        ("The answer is not Paris.", CITIES),
        ("Paris or Rome", CITIES),
        ("Bees and Cats are fine.", CITIES),
        ("Is it Paris?", CITIES),
        ("", CITIES),
    ],
)
def test_another_choice_or_none_is_wrong(response: str, choices: Mapping[str, str]) -> None:
    assert not is_correct(response, "B", choices=choices)


def test_choices_come_from_the_prompt_or_a_field() -> None:
    prompt = "What is 7 * 8?\nA) 54\nB) 56\nC) 63"
    assert listed_choices(prompt) == {"A": "54", "B": "56", "C": "63"}
    assert listed_choices("A. Smith has 3 pens. How many?") == {}
    assert read_check({}, prompt) == Choices({"A": "54", "B": "56", "C": "63"})
    assert read_check({"choices": ["Rome", "Paris"]}, "Which?") == Choices(
        {"A": "Rome", "B": "Paris"}
    )
    with pytest.raises(TypeError, match="field choices is neither"):
        read_check({"choices": "Rome"}, "Which?")
    with Judge() as judge:
        assert asyncio.run(judge.is_correct("56", "B", check=read_check({}, prompt)))
        assert not asyncio.run(judge.is_correct("54", "B", check=read_check({}, prompt)))


def real() -> Iterator[tuple[str, dict[str, str]]]:
    with gzip.open(DATA / "problems" / "aqua.jsonl.gz", "rt") as stream:
        for row in map(json.loads, stream):
            yield row["answer"], lettered(row["options"])
    for name in ("problems/agieval_en", "outcomes/mmlu_pro.problems"):
        with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as stream:
            for row in islice(map(json.loads, stream), 0, None, 40):
                yield row["answer"], listed_choices(row["prompt"])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not there")
def test_other_choices_of_real_problems_are_wrong_and_texts_mostly_recognised() -> None:
    problems = [(gold, choices) for gold, choices in real() if gold in choices]
    assert len(problems) > 500
    recognised = 0
    for gold, choices in problems:
        other = next(letter for letter in choices if letter != gold)
        text = choices[other]
        for wrong in (other, f"The answer is {text}.", text, f"The answer is {gold} or {other}."):
            assert not is_correct(wrong, gold, choices=choices), (wrong, choices)
        assert is_correct(f"Answer: ({gold})", gold, choices=choices)
        recognised += is_correct(f"The answer is {choices[gold]}.", gold, choices=choices)
    assert recognised > 0.9 * len(problems)
