"""Arithmetic that reads prose, and sentences as steps."""

import gzip
import json
import re

import pytest
from paths import DATA

from models.training.arithmetic import false_equations
from models.training.mistakes import wrong_sentences
from models.training.sentences import sentences

SOLUTIONS = DATA / "problems" / "gsm8k_train_solutions.jsonl.gz"


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 8 apples",
        "So 3 apples + 4 apples = 8 apples.",
        "$5 * 3 = $16",
        "2 \u00d7 3 = 7",
        "5 x 3 = 16",
        "(2+3)*4 = 24",
        "10/4=2",
        "1,200+300=1,600",
        "- 3 + 4 = 8",
        "1. 3 + 4 = 8",
        "20% * 50 = 11",
        "42: 12/5=2",
        "16 - 3 - 4 = 8 duck eggs.",
        "2*3=6 and 4*5=21",
    ],
)
def test_false_equations_are_found(text: str) -> None:
    assert len(false_equations(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "10/4=2.5",
        "1,200+300=1,500",
        "10/3 = 3.33",
        "3.33*3 = 10",
        "3 + 4 = 7 apples",
        "$1,000 - $250.50 = $749.50",
        "1/3 + 1/6 = 1/2",
        "100 - 5 = 95%",
        "1 1/2 * 60 = 90",
        "2 hours = 2 * 60 = 120",
        "5 km / 2 h = 2.5 km/h",
        "07 + 1 = 8",
        # not to be read for sure
        "2x + 3 = 7",
        "10m - 7 = 93",
        "y - 3 + 4 = 8",
        "3 + 4 = 7 + y",
        "3 + 4 = 7x",
        "2^3 + 1 = 9",
        "5! = 120",
        "f(3) + 4 = 9",
        "10:30 + 2 = 12:30",
        "2/3 of 9 = 6",
        "20% of 50 + 1 = 11",
        "sqrt(16) + 1 = 5",
        "10 mod 3 = 1",
        "1/0 = 5",
        "(" * 5000 + "1 + 1 = 3",  # in time that is linear in the text
        "1 apple + (2 - 3 * " * 200,
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert false_equations(text) == []


@pytest.mark.slow
def test_solutions_of_people_are_mostly_right() -> None:
    if not SOLUTIONS.exists():
        pytest.skip("needs ../shared/data")
    with gzip.open(SOLUTIONS, "rt") as lines:
        texts = [re.sub("<<.*?>>", "", json.loads(line)["solution"]) for line in lines]
    equations = sum(text.count("=") for text in texts)
    assert len(texts) > 7000
    assert sum(len(false_equations(text)) for text in texts) < 0.003 * equations


def test_steps_are_sentences() -> None:
    text = (
        "She has $2.5 left. Mr. Lee buys 3 (e.g. pens). He pays 3 * 2 = 7. ok then! "
        '"Why?" Well.\n1. First. \n  2. Second\n\n\u56e0\u6b64\u3002\u7b54\u3002'
    )
    assert [text[start:end] for start, end in sentences(text)] == [
        "She has $2.5 left.",
        "Mr. Lee buys 3 (e.g. pens).",
        "He pays 3 * 2 = 7. ok then!",
        '"Why?"',
        "Well.",
        "1. First.",
        "2. Second",
        "\u56e0\u6b64\u3002",
        "\u7b54\u3002",
    ]
    assert [text[start:end] for start, end in wrong_sentences(text)] == [
        "He pays 3 * 2 = 7. ok then!"
    ]
